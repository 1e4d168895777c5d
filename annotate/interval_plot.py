"""A plot of shares with their intervals, as geometry for an SVG that the server writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, EDGE, ROW, AXIS = 400, 10, 44, 34
STEP = 0.1


@dataclass(frozen=True, kw_only=True)
class Share:
    """One row: a value in 0 to 1 and the interval around it."""

    name: str
    value: float
    low: float
    high: float
    source: str = ""
    ours: bool = False


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
    width: int
    height: int
    axis_y: int
    bars: list[Bar]
    ticks: list[Tick]


def plot(shares: Sequence[Share]) -> IntervalPlot:
    """Rows from top to bottom on one axis, which covers every interval in steps of 10 %."""
    low = int(min(share.low for share in shares) / STEP + 1e-9) * STEP
    high = min(1.0, (int(max(share.high for share in shares) / STEP - 1e-9) + 1) * STEP)

    def x(value: float) -> float:
        return round(EDGE + (value - low) / (high - low) * (WIDTH - 2 * EDGE), 1)

    bars = [
        Bar(
            name=share.name,
            text=f"{share.value:.1%}",
            ours=share.ours,
            label_y=i * ROW + 16,
            y=i * ROW + 30,
            x=x(share.value),
            left=x(share.low),
            right=x(share.high),
        )
        for i, share in enumerate(shares)
    ]
    steps = round((high - low) / STEP)
    ticks = [Tick(x=x(low + i * STEP), text=f"{low + i * STEP:.0%}") for i in range(steps + 1)]
    axis_y = len(shares) * ROW
    return IntervalPlot(width=WIDTH, height=axis_y + AXIS, axis_y=axis_y, bars=bars, ticks=ticks)
