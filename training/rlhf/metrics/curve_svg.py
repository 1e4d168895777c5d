"""A number over the steps of a training, as an SVG that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.rlhf.metrics.svg_plots import round_ticks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 180, 48, 12, 10, 24
MOST = 300
"""Points of one line; more would not be seen."""

Point = tuple[int, float]


def svg(title: str, points: Sequence[Point]) -> str:
    """A line through the points, which are in the order of their steps; at least one."""
    points = _thinned(points)
    steps, values = [step for step, _ in points], [value for _, value in points]
    ticks = round_ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    inner_width, inner_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (step - first) / (last - first) * inner_width
        return round(x, 1), round(TOP + (high - value) / (high - low) * inner_height, 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        _, y = place(first, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y} H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" dy="0.32em" text-anchor="end">{tick:g}</text>')
    for step, anchor in ((first, "start"), (steps[-1], "end")):
        x, _ = place(step, low)
        parts.append(f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="{anchor}">step {step}</text>')
    places = [place(step, value) for step, value in points]
    if len(places) == 1:
        ((x, y),) = places
        return "".join([*parts, f'<circle class="mark" cx="{x}" cy="{y}" r="3"/></svg>'])
    line = " ".join(f"{x},{y}" for x, y in places)
    return "".join([*parts, f'<polyline class="line" points="{line}"/></svg>'])


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MOST` of them, evenly, the last one among them."""
    stride = -(-len(points) // MOST)
    return [*points[:-1:stride], points[-1]]
