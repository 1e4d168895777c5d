"""Values with their intervals, one line per model, as an SVG that stands alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LEFT, RIGHT, LINE, TOP, BOTTOM = 320, 96, 14, 22, 8, 22
LONGEST = 15
"""Characters of a name beside its line; the whole name is its tooltip."""

Named = tuple[str, Mapping[str, float | None]]


def svg(title: str, named: Sequence[Named]) -> str:
    """A dot per model and a bar where its 95 % interval reaches."""
    marks = [(name, *_ends(cell)) for name, cell in named]
    low, high = min(low for _, _, low, _ in marks), max(high for *_, high in marks)
    ticks = round_ticks(low, high)
    first, last = min(low, ticks[0]), max(high, ticks[-1])
    height = TOP + LINE * len(marks) + BOTTOM

    def at(value: float) -> float:
        return round(LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        x = at(tick)
        parts.append(f'<path class="grid" d="M{x} {TOP} V{height - BOTTOM}"/>')
        parts.append(f'<text x="{x}" y="{height - 6}" text-anchor="middle">{tick:g}</text>')
    for number, (name, value, start, end) in enumerate(marks):
        y = TOP + LINE * number + LINE / 2
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
        parts.append(
            f"<g><title>{escape(name)}: {value:.4g} ({start:.4g} to {end:.4g})</title>"
            f'<text x="{LEFT - 8}" y="{y}" dy="0.32em" text-anchor="end">{escape(short)}</text>'
            f'<path class="mark" d="M{at(start)} {y} H{at(end)}"/>'
            f'<circle class="mark" cx="{at(value)}" cy="{y}" r="3"/></g>'
        )
    return "".join([*parts, "</svg>"])


def _ends(cell: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Value and interval; a value without one is its own interval."""
    value = cell["value"]
    assert value is not None, "only measured values are drawn"
    low, high = cell.get("low"), cell.get("high")
    return value, value if low is None else low, value if high is None else high


def round_ticks(low: float, high: float, *, most: int = 4) -> list[float]:
    """At most `most` + 1 round numbers that span [low, high], evenly spaced."""
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        pad = max(0.1, abs(low) / 10)
        low, high = low - pad, high + pad
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
