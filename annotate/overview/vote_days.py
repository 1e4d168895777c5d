"""Votes per day as bars, in the geometry of an SVG that the server writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import ceil, log10

WIDTH, HEIGHT = 320, 210
LEFT, TOP, BOTTOM = 50, 20, 40
RIGHT = WIDTH - 8


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One day; the votes of people stand on the axis, the simulated ones above them."""

    day: date
    people: int
    simulated: int
    x: float
    middle: float
    people_y: float
    people_height: float
    simulated_y: float
    simulated_height: float

    @property
    def votes(self) -> int:
        return self.people + self.simulated


@dataclass(frozen=True, kw_only=True)
class DayChart:
    width: int
    height: int
    left: int
    right: int
    bottom: int
    bar_width: float
    bars: list[Bar]
    ticks: list[tuple[float, int]]
    """Places on the y axis and their numbers of votes."""
    simulated: bool
    """True when any day has simulated votes."""
    total: int
    busiest: Bar | None
    """The day whose number is written above its bar."""


def day_chart(days: Sequence[tuple[str, int, int]]) -> DayChart:
    """Lay the days out, oldest on the left."""
    step = _step(max((people + simulated for _, people, simulated in days), default=0))
    top = 2 * step
    bottom = HEIGHT - BOTTOM
    unit = (bottom - TOP) / top
    width = (RIGHT - LEFT) / max(1, len(days))

    def bar(place: int, day: str, people: int, simulated: int) -> Bar:
        people_y = bottom - people * unit
        return Bar(
            day=date.fromisoformat(day),
            people=people,
            simulated=simulated,
            x=round(LEFT + place * width + 1, 2),
            middle=round(min(LEFT + (place + 0.5) * width, RIGHT - 12), 2),
            people_y=round(people_y, 2),
            people_height=round(people * unit, 2),
            simulated_y=round(people_y - simulated * unit, 2),
            simulated_height=round(simulated * unit, 2),
        )

    bars = [bar(place, *day) for place, day in enumerate(days)]
    return DayChart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        bottom=bottom,
        bar_width=round(max(1.0, width - 2), 2),
        bars=bars,
        ticks=[(round(bottom - n * unit, 2), n) for n in (0, step, top)],
        simulated=any(simulated for _, _, simulated in days),
        total=sum(people + simulated for _, people, simulated in days),
        busiest=max(bars, key=lambda one: one.votes, default=None),
    )


def _step(most: int) -> int:
    """A round number of votes, twice which holds the busiest day."""
    half = max(1, ceil(most / 2))
    size = 10 ** int(log10(half))
    return int(next(n * size for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * size >= half))
