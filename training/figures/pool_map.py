"""The pool of pairs as a map: points in the viewBox of an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.figures.charts import scale

WIDTH, HEIGHT, MARGIN, RADIUS = 320, 240, 8, 2.5
KINDS = {"open": "Open", "voted": "With a vote", "next": "Asked next"}
"""In the order in which they are drawn: the last lies on top."""


@dataclass(frozen=True)
class Layer:
    """The pairs of one kind; `number` chooses the colour and the mark."""

    kind: str
    title: str
    marks: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class PoolMap:
    """Everything that the template draws."""

    layers: tuple[Layer, ...]
    width, height, radius = WIDTH, HEIGHT, RADIUS

    @property
    def summary(self) -> str:
        return ", ".join(f"{len(layer.marks)} {layer.title.lower()}" for layer in self.layers)


def pool_map(points: Mapping[str, Sequence[Sequence[float]]]) -> PoolMap | None:
    """Lay out the points of each kind, (x, y); None when there are none."""
    every = [point for kind in KINDS for point in points.get(kind, ())]
    if not every:
        return None
    ends = [(min(p[i] for p in every), max(p[i] for p in every)) for i in (0, 1)]
    (left, right), (low, high) = ((a, b if b > a else a + 1.0) for a, b in ends)
    layers = []
    for kind, title in KINDS.items():
        marks = tuple(
            (
                scale(x, left, right, start=MARGIN, end=WIDTH - MARGIN),
                scale(y, low, high, start=HEIGHT - MARGIN, end=MARGIN),
            )
            for x, y in points.get(kind, ())
        )
        layers.append(Layer(kind, title, marks))
    return PoolMap(tuple(layers))
