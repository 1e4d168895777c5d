"""A plot of estimates with their intervals, as geometry for an SVG that the server writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from annotate.statistics import share_text

WIDTH, EDGE, ROW, AXIS = 400, 14, 44, 50
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
MOST_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One row: a value and the interval around it."""

    name: str
    value: float
    low: float
    high: float
    source: str = ""
    ours: bool = True


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One row in the coordinates of the viewBox."""

    name: str
    text: str
    ours: bool
    label_y: int
    y: int
    x: float
    left: float
    right: float


@dataclass(frozen=True, kw_only=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class IntervalPlot:
    """`mark` is where the value lies that means "no effect", if it is in sight."""

    title: str
    axis: str
    width: int
    height: int
    axis_y: int
    bars: list[Bar]
    ticks: list[Tick]
    mark: float | None


def percent(value: float) -> str:
    return share_text.percent(value).replace(".0\N{NO-BREAK SPACE}", "\N{NO-BREAK SPACE}")


def plot(
    estimates: Sequence[Estimate],
    *,
    title: str,
    axis: str,
    mark: float | None = None,
    write: Callable[[float], str] = percent,
) -> IntervalPlot | None:
    """Rows from top to bottom on one axis that covers every interval; None where there is
    nothing to compare."""
    if len(estimates) < 2:
        return None
    marks = [] if mark is None else [mark]
    step, first, last = _scale([end for one in estimates for end in (one.low, one.high)] + marks)

    def x(value: float) -> float:
        return round(EDGE + (value / step - first) / (last - first) * (WIDTH - 2 * EDGE), 1)

    bars = [_bar(i, one, x=x, write=write) for i, one in enumerate(estimates)]
    axis_y = len(estimates) * ROW
    return IntervalPlot(
        title=title,
        axis=axis,
        width=WIDTH,
        height=axis_y + AXIS,
        axis_y=axis_y,
        bars=bars,
        ticks=[Tick(x=x(i * step), text=write(i * step)) for i in range(first, last + 1)],
        mark=None if mark is None else x(mark),
    )


def _bar(
    place: int, one: Estimate, *, x: Callable[[float], float], write: Callable[[float], str]
) -> Bar:
    return Bar(
        name=one.name,
        text=write(one.value),
        ours=one.ours,
        label_y=place * ROW + 16,
        y=place * ROW + 30,
        x=x(one.value),
        left=x(one.low),
        right=x(one.high),
    )


def _scale(values: Sequence[float]) -> tuple[float, int, int]:
    """The step between ticks, and the first and last tick as numbers of steps."""
    lowest, highest = min(values), max(values)
    step = next((s for s in STEPS if highest - lowest <= s * (MOST_STEPS - 1)), STEPS[-1])
    # Rounding must not add an empty step to an end that lies on a tick.
    first = floor(lowest / step + 1e-9)
    return step, first, max(ceil(highest / step - 1e-9), first + 1)
