"""Random clickers, told by their votes against a head that the others' votes taught. Numpy only.

An honest person's votes follow sigmoid(s * logit) of that head, with a slope s that differs from
person to person; somebody who guesses has the slope 0, and somebody who answers the wrong way round
a negative one. So one vote per pair is enough, where figures of agreement need two.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from training.rlhf.metrics.arrays import Floats, sigmoid
from training.rlhf.metrics.preference_head import Head, Votes

FEWEST_DECIDED = 30
"""Votes for a side before a person is judged."""
FEWEST_PEOPLE = 4
"""People with so many votes: among fewer nobody can say who is the odd one."""
ALIKE = 0.35
"""Standard deviation of the logarithm of honest people's slopes."""
ODD = 0.05
"""Chance of an honest person's slope below which it no longer counts for the slope of the rest."""
SLOPE_VARIANCE = 4.0
"""Of the normal prior of a slope around 1: keeps it finite where all votes follow the head."""
DRAWS = 1000
MOST = 256
"""Votes of a person that are looked at, spread evenly over them: more tell nothing new."""


class _Slope(NamedTuple):
    """One person's logits by the others' head, towards the side that it prefers, and the slope of
    their votes on them."""

    logit: Floats
    value: float
    error: float
    """Standard error of the value."""


def doubts(x: Floats, votes: Votes, head: Head, share: Floats) -> dict[int, float]:
    """Person -> chance that an honest person's votes follow the others' head so little, or less.

    A tie says nothing here. People with fewer than FEWEST_DECIDED votes for a side are left out,
    and everybody where fewer than FEWEST_PEOPLE have as many.

    Args:
        x: (n, d) feature differences of the pairs.
        head: fitted to all votes, as `fit_with_people` does.
        share: (v,) of each vote that is no guess, from there.
    """
    mass, slopes = votes.weight * share, {}
    for person in np.unique(votes.person).tolist():
        own = np.flatnonzero(votes.person == person)
        value = votes.value[own]
        decided = np.flatnonzero(value != 0.5)
        if len(decided) < FEWEST_DECIDED:
            continue
        some = decided[np.linspace(0, len(decided) - 1, min(MOST, len(decided))).astype(np.int64)]
        logit = _others_logit(head, x[votes.pair[own]], value, mass[own])[some]
        # By the side that the head prefers, so that it does not matter which is called A.
        follows = np.where(logit > 0, value[some], 1 - value[some])
        slope, error = _slopes(np.abs(logit), follows[None])
        slopes[person] = _Slope(np.abs(logit), float(slope[0]), float(error[0]))
    return _chances(slopes) if len(slopes) >= FEWEST_PEOPLE else {}


def _others_logit(head: Head, x: Floats, value: Floats, mass: Floats) -> Floats:
    """Logits of a person's pairs by the head without their votes, shrunk by its uncertainty."""
    mean, variance = head.without(x, value, mass).logit(x)
    out: Floats = mean / np.sqrt(1 + np.pi * variance / 8)
    return out


def _slopes(logit: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Maximum a posteriori slopes of sets of votes, (r, v) of 0 and 1, on the same logits, (v,),
    and their standard errors, by Newton's method."""
    slope = np.ones(len(values))
    for _ in range(12):
        p = sigmoid(slope[:, None] * logit)
        gradient = (values - p) @ logit - (slope - 1) / SLOPE_VARIANCE
        curved = (p * (1 - p)) @ (logit * logit) + 1 / SLOPE_VARIANCE
        step = np.clip(gradient / curved, -1.0, 1.0)  # far off, a whole step may run away
        slope = slope + step
        if np.abs(step).max() < 1e-4:
            break
    return slope, 1 / np.sqrt(curved)


def _chances(slopes: dict[int, _Slope]) -> dict[int, float]:
    """Chance of each slope, or a lower one, for somebody honest, whose slopes spread around that
    of the rest. Whoever stands out no longer counts for the rest."""
    rest = list(slopes)
    middle = max(float(np.median([one.value for one in slopes.values()])), 0.0)
    while True:
        # Honest slopes differ, and each is an estimate.
        spread = (ALIKE * middle) ** 2 + np.mean([slopes[person].error ** 2 for person in rest])
        error = sqrt(float(spread) / len(rest))
        chance = {person: _chance(one, middle, error) for person, one in slopes.items()}
        inside = [person for person in rest if chance[person] >= ODD]
        # The rest has to stay the larger part: a minority cannot say who is wrong.
        if len(inside) == len(rest) or 2 * len(inside) <= len(slopes):
            return chance
        rest = inside
        middle = max(float(np.mean([slopes[person].value for person in rest])), 0.0)


def _chance(one: _Slope, middle: float, error: float) -> float:
    """Share of DRAWS honest people on the same pairs whose slope is this low, or lower.

    Drawn, not computed: where the head is sure, slopes of honest people are far from normal.
    `error` is the standard error of the rest's middle.
    """
    rng = np.random.default_rng(0)
    middles = np.maximum(middle + error * rng.normal(size=DRAWS), 0.0)
    slope = middles * np.exp(ALIKE * rng.normal(size=DRAWS))
    p = sigmoid(slope[:, None] * one.logit)
    drawn, _ = _slopes(one.logit, (rng.random(p.shape) < p).astype(np.float64))
    return float((drawn <= one.value).mean())
