"""A human win rate with the help of a judge model, who has seen many more prompts than people.

Prediction-powered inference (Angelopoulos, Duchi and Zrnic 2023, PPI++, arXiv 2311.01453): people's
mean is corrected by how the judge's mean on their prompts differs from its mean on all others. The
judge may be biased, whatever it likes: that cancels. Its weight is fitted on the other folds of the
comparisons that it is used for, so that the interval is honest. Numpy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.rlhf.metrics.arrays import Floats

FOLDS = 10
LEAST = 20
"""Human comparisons below which nothing is said."""


@dataclass(frozen=True)
class AssistedRate:
    """A win rate by people, with a judge's help or without."""

    rate: float
    low: float
    high: float
    error: float
    """Standard error."""
    weight: float
    """Of the judge, from 0 (not used) to 1."""


def assisted_rate(
    people: Floats, judge: Floats, elsewhere: Floats, *, seed: int = 0
) -> AssistedRate:
    """The share of prompts on which people prefer a policy, with its 95 % interval.

    Args:
        people: points on the prompts that people compared, (n,), in [0, 1].
        judge: the judge's points on the same prompts, (n,), on any scale.
        elsewhere: the judge's points on other prompts of the same kind, (m,), drawn before any
            vote.

    Raises:
        ValueError: fewer than 20 comparisons, or arrays that do not belong together.
    """
    n, m = len(people), len(elsewhere)
    if n < LEAST or len(judge) != n:
        raise ValueError(f"{n} comparisons with {len(judge)} opinions: at least {LEAST} are wanted")
    if m < 2:
        return _result(people, np.zeros(n), np.zeros(2))
    fold = np.random.default_rng([seed, 23]).permutation(n) % FOLDS
    weights = np.array([_weight(people[fold != k], judge[fold != k], m) for k in range(FOLDS)])
    return _result(people - weights[fold] * judge, weights[fold], elsewhere)


def _weight(people: Floats, judge: Floats, m: int) -> float:
    """The weight with the least variance, by the comparisons that it will not be used for."""
    spread = float(np.var(judge, ddof=1))
    if spread == 0:
        return 0.0
    both = float(np.cov(people, judge)[0, 1])
    return float(np.clip(both / (spread * (1 + len(people) / m)), 0.0, 1.0))


def _result(residuals: Floats, weights: Floats, elsewhere: Floats) -> AssistedRate:
    n, weight = len(residuals), float(weights.mean())
    rate = float(residuals.mean()) + weight * float(elsewhere.mean())
    variance = float(np.var(residuals, ddof=1)) / n
    variance += weight**2 * float(np.var(elsewhere, ddof=1)) / len(elsewhere)
    error = math.sqrt(variance)
    half = _t(n - 1) * error
    return AssistedRate(rate, max(0.0, rate - half), min(1.0, rate + half), error, weight)


def _t(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, to 1e-3 (Abramowitz and Stegun 1964, 26.7.5)."""
    z = 1.959964
    first = (z**3 + z) / (4 * degrees)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return z + first + second
