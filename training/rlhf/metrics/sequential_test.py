"""A test of a win rate against one half that may be looked at after every comparison.

An observation is one prompt: 1 where the policy won, 0 where it lost, between them where the votes
on it were divided, 1/2 for a tie. For every mean m a gambler stakes a share of the wealth on the
side of m where the truth might lie; the wealth is a martingale where m is true, so that it passes
1 / alpha with probability alpha at most, ever (Ville's inequality). The wealth here is the mean
over a few stakes, each kept throughout: the mixture of sequential probability ratio tests of
Robbins 1970, in the form for bounded observations of Waudby-Smith and Ramdas 2024 (JRSS B 86,
section 4).
Which comparisons come, and in which order, must not depend on how the others went. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from training.rlhf.metrics.arrays import Floats

ERROR = 0.025
"""Probability that a policy whose true rate is one half is ever called worse; and so for better."""
STAKES = np.array([0.12, 0.2, 0.3, 0.45, 0.65])
"""Shares of the largest stake that cannot ruin. Small ones find small differences, in the end."""
Outcome = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The state of a comparison after n observations."""

    outcome: Outcome
    n: int
    rate: float
    """Mean of the observations; NaN without any."""
    low: float
    high: float
    """Bounds of the rate, which hold however often one looks; those of all comparisons of a policy
    together in 95 % of cases."""


def verdict(points: Sequence[float], *, comparisons: int = 1) -> Verdict:
    """The verdict on a policy from its points in [0, 1], one each prompt.

    Args:
        comparisons: of the same policy, which share the error; 2 where it is held against the one
            before and against the starter.
    """
    alpha = ERROR / comparisons
    observed = np.asarray(points, dtype=np.float64)
    if not len(observed):
        return Verdict("undecided", 0, float("nan"), 0.0, 1.0)
    low, high = interval(observed, alpha=alpha)
    outcome: Outcome = "better" if low > 0.5 else "worse" if high < 0.5 else "undecided"
    return Verdict(outcome, len(observed), float(observed.mean()), low, high)


def interval(points: Floats, *, alpha: float) -> tuple[float, float]:
    """Bounds of the mean, each of which ever misses it with probability `alpha` at most."""
    values, counts = np.unique(points, return_counts=True)  # most are 0, 1/2 or 1
    times = counts.astype(np.float64)
    low = _lowest(values, times, alpha)
    return low, 1.0 - _lowest(1.0 - values, times, alpha)


def _lowest(values: Floats, counts: Floats, alpha: float) -> float:
    """The least mean against which the wealth is below 1 / alpha."""
    low, high = 0.0, 1.0
    for _ in range(26):  # the wealth falls with m: halve
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _wealth(values, counts, middle) >= -np.log(alpha) else (low, middle)
        )
    return low


def _wealth(values: Floats, counts: Floats, mean: float) -> float:
    """Logarithm of the wealth of who bets that the mean lies above `mean`."""
    gains = np.log1p(np.outer(STAKES, values / mean - 1.0)) @ counts
    largest = float(gains.max())
    return largest + float(np.log(np.exp(gains - largest).mean()))


NEEDED = {0.6: (340, 390), 0.65: (138, 160), 0.7: (79, 89), 0.75: (49, 57), 0.8: (33, 38)}
"""True rate to the comparisons after which 8 of 10 such policies are called better: where the one
before is the starter, and where both are compared with. Simulated by `needed`, without ties."""


@lru_cache(maxsize=16)
def needed(rate: float, *, comparisons: int, runs: int = 1000, most: int = 2500) -> int:
    """Comparisons after which this test has decided in 8 of 10 simulated policies of a true rate.

    Args:
        runs: simulated policies.
        most: comparisons of each; the answer is no larger.
    """
    wins = np.random.default_rng(7).random((runs, most)) < rate
    won = np.cumsum(wins, axis=1)
    lost = np.arange(1, most + 1) - won
    gains = [won * np.log1p(stake) + lost * np.log1p(-stake) for stake in STAKES]
    wealth = np.logaddexp.reduce(gains) - np.log(len(STAKES))
    passed = wealth >= np.log(comparisons / ERROR)
    first = np.where(passed.any(axis=1), passed.argmax(axis=1) + 1, most)
    return int(np.quantile(first, 0.8))
