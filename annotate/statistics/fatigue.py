"""Fatigue: less agreement with others the longer people have sat at it.

A sitting is a person's votes without a gap of more than half an hour. A vote's agreement is with
the other of the first two votes of its pair. The slope compares each person with themselves
(a linear fit with a mean of each person's own), since those who sit longest may be the best;
votes on one pair count together in its interval (Liang and Zeger 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from annotate.statistics.wilson_interval import NORMAL_95, wilson

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GAP = 30.0
"""Minutes without a vote that end a sitting."""
EDGES = (0, 15, 30, 60, 120)
FEWEST_IN_STRETCH = 20
FEWEST = 100
"""Votes below which there is no slope."""
WIDEST = 0.5
"""An interval reaching further each way says nothing: the sittings are too short to compare."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The votes of one part of people's sittings."""

    name: str
    votes: int
    same: int

    @property
    def enough(self) -> bool:
        return self.votes >= FEWEST_IN_STRETCH

    @property
    def share(self) -> float:
        return self.same / self.votes

    @property
    def interval(self) -> tuple[float, float] | None:
        return wilson(self.same, self.votes)


@dataclass(frozen=True, kw_only=True)
class Fatigue:
    """`slope` is the change of the share that agrees per hour of a sitting; None if unknown."""

    votes: int
    stretches: list[Stretch]
    slope: float | None
    interval: tuple[float, float] | None

    @property
    def sentence(self) -> str:
        """A sentence on the slope, in plain words."""
        if self.slope is None or self.interval is None:
            return "Too few votes with a known time, or sittings too short, to tell."
        low, high = (100 * bound for bound in self.interval)
        span = f"(95 % interval: {low:+.1f} to {high:+.1f} points)".replace("-", "−")
        change = f"{abs(100 * self.slope):.1f} points {'less' if self.slope < 0 else 'more'}"
        if low <= 0 <= high:
            return f"No clear change along a sitting: {change} agreement per hour {span}."
        advice = " Suggest breaks." if self.slope < 0 else ""
        return (
            f"Per hour of a sitting the same person agrees {change} with the others {span}.{advice}"
        )


def minutes_in_sitting(people: Ints, seconds: Floats) -> Floats:
    """Per vote: minutes since the first vote of its sitting. Arrays (votes), in any order."""
    order = np.lexsort((seconds, people))
    who, at = people[order], seconds[order]
    begins = np.ones(len(who), dtype=bool)
    begins[1:] = (who[1:] != who[:-1]) | (np.diff(at) > 60 * GAP)
    start = at[begins][np.cumsum(begins) - 1]
    minutes = np.empty(len(who))
    minutes[order] = (at - start) / 60
    return minutes


def fatigue(minutes: Floats, same: Ints, people: Ints, pairs: Ints) -> Fatigue:
    """Agreement along sittings, from votes (n): minutes, 1 where the other said the same, whose
    vote it was and on which pair."""
    place = np.digitize(minutes, EDGES) - 1
    names = [f"{low} to {high} min" for low, high in pairwise(EDGES)]
    names.append(f"after {EDGES[-1] // 60} h")
    stretches = [
        Stretch(name=name, votes=int(here.sum()), same=int(same[here].sum()))
        for i, name in enumerate(names)
        for here in (place == i,)
        if here.any()
    ]
    slope, interval = _slope(minutes / 60, same, people, pairs)
    return Fatigue(votes=len(same), stretches=stretches, slope=slope, interval=interval)


def _slope(
    hours: Floats, same: Ints, people: Ints, pairs: Ints
) -> tuple[float | None, tuple[float, float] | None]:
    if len(same) < FEWEST:
        return None, None
    x, y = _within(hours, people), _within(same.astype(np.float64), people)
    spread = float(x @ x)
    if spread < 1e-9:
        return None, None
    slope = float(x @ y) / spread
    _, cluster = np.unique(pairs, return_inverse=True)
    scores = np.bincount(cluster, weights=x * (y - slope * x))
    half = NORMAL_95 * float(np.sqrt(scores @ scores)) / spread
    if half > WIDEST:
        return None, None
    return slope, (slope - half, slope + half)


def _within(values: Floats, people: Ints) -> Floats:
    """Each value less the mean of the same person's."""
    _, who = np.unique(people, return_inverse=True)
    return np.asarray(values - (np.bincount(who, weights=values) / np.bincount(who))[who])
