"""The two plots of a report, each an SVG that stands alone: a curve over the steps of a training,
and values with their intervals, one line per model. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 320
CURVE_HEIGHT, CURVE_LEFT, CURVE_RIGHT, CURVE_TOP, CURVE_BOTTOM = 180, 48, 12, 10, 24
MOST_POINTS = 300
"""Points of one line; more would not be seen."""
LEFT, RIGHT, LINE, TOP, BOTTOM = 96, 14, 22, 8, 22
"""Margins of the intervals, and the height of one model's line."""
LONGEST_NAME = 15
"""Characters of a name beside its line; the whole name is its tooltip."""

Point = tuple[int, float]
Named = tuple[str, Mapping[str, float | None]]


def curve(title: str, points: Sequence[Point]) -> str:
    """A line through the points, which are in the order of their steps; at least one."""
    points = _thinned(points)
    steps, values = [step for step, _ in points], [value for _, value in points]
    ticks, low, high = _axis(min(values), max(values))
    first, last = steps[0], max(steps[-1], steps[0] + 1)
    inner_width = WIDTH - CURVE_LEFT - CURVE_RIGHT
    inner_height = CURVE_HEIGHT - CURVE_TOP - CURVE_BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        x = CURVE_LEFT + (step - first) / (last - first) * inner_width
        return round(x, 1), round(CURVE_TOP + (high - value) / (high - low) * inner_height, 1)

    parts = [_opening(title, CURVE_HEIGHT)]
    for tick in ticks:
        _, y = place(first, tick)
        parts.append(_grid(f"M{CURVE_LEFT} {y} H{WIDTH - CURVE_RIGHT}"))
        parts.append(_label(CURVE_LEFT - 6, y, f"{tick:g}", anchor="end", middle=True))
    for step, anchor in ((first, "start"), (steps[-1], "end")):
        x, _ = place(step, low)
        parts.append(_label(x, CURVE_HEIGHT - 6, f"step {step}", anchor=anchor))
    places = [place(step, value) for step, value in points]
    if len(places) == 1:
        ((x, y),) = places
        return "".join([*parts, f'<circle class="mark" cx="{x}" cy="{y}" r="3"/></svg>'])
    line = " ".join(f"{x},{y}" for x, y in places)
    return "".join([*parts, f'<polyline class="line" points="{line}"/></svg>'])


def intervals(title: str, named: Sequence[Named]) -> str:
    """A dot per model, and a bar where its 95 % interval reaches.

    Args:
        named: the name and the `value`, `low` and `high` of each; at least one.
    """
    marks = [(name, *_ends(cell)) for name, cell in named]
    ticks, first, last = _axis(min(m[2] for m in marks), max(m[3] for m in marks))
    height = TOP + LINE * len(marks) + BOTTOM

    def place(value: float) -> float:
        return round(LEFT + (value - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    parts = [_opening(title, height)]
    for tick in ticks:
        x = place(tick)
        parts.append(_grid(f"M{x} {TOP} V{height - BOTTOM}"))
        parts.append(_label(x, height - 6, f"{tick:g}", anchor="middle"))
    for number, (name, value, start, end) in enumerate(marks):
        y = TOP + LINE * number + LINE / 2
        parts.append(
            f"<g><title>{escape(name)}: {value:.4g} ({start:.4g} to {end:.4g})</title>"
            f"{_label(LEFT - 8, y, _shortened(name), anchor='end', middle=True)}"
            f'<path class="mark" d="M{place(start)} {y} H{place(end)}"/>'
            f'<circle class="mark" cx="{place(value)}" cy="{y}" r="3"/></g>'
        )
    return "".join([*parts, "</svg>"])


def _axis(low: float, high: float) -> tuple[list[float], float, float]:
    """Ticks of an axis, and its ends, which hold both the ticks and [low, high]."""
    ticks = round_ticks(low, high)
    return ticks, min(low, ticks[0]), max(high, ticks[-1])


def round_ticks(low: float, high: float, *, most: int = 4) -> list[float]:
    """At most `most` + 1 round numbers that span [low, high], evenly spaced."""
    # A level line has no span: without padding the step would be the logarithm of zero.
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        pad = max(0.1, abs(low) / 10)
        low, high = low - pad, high + pad
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _opening(title: str, height: float) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'


def _grid(path: str) -> str:
    return f'<path class="grid" d="{path}"/>'


def _label(x: float, y: float, text: str, *, anchor: str, middle: bool = False) -> str:
    lowered = ' dy="0.32em"' if middle else ""
    return f'<text x="{x}" y="{y}"{lowered} text-anchor="{anchor}">{escape(text)}</text>'


def _shortened(name: str) -> str:
    most = LONGEST_NAME
    return name if len(name) <= most else name[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most `MOST_POINTS` + 1 of them, evenly, the last one among them."""
    stride = -(-len(points) // MOST_POINTS)
    return [*points[:-1:stride], points[-1]]


def _ends(cell: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Value and interval; a value without one is its own interval."""
    value = cell["value"]
    assert value is not None, "only measured values are drawn"
    low, high = cell.get("low"), cell.get("high")
    return value, value if low is None else low, value if high is None else high
