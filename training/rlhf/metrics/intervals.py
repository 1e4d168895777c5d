"""95 % intervals: Wilson's of a share, and the bootstrap over prompts, paired between models.

The bootstrap is the percentile method of Efron and Tibshirani 1993. Every resample is one draw of
prompts; models that answered the same prompts are resampled alike, so that hard prompts do not blur
their difference. Numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from training.rlhf.metrics.arrays import Floats

AT_ONCE = 2_000_000
"""Numbers of one block of draws, 16 MB."""


def wilson(rate: float, n: int, *, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share (Wilson 1927), within [0, 1]; (NaN, NaN) without observations.

    Args:
        rate: the observed share, in [0, 1]; ties may count half.
        n: observations.
        z: quantile of the normal distribution; 1.96 gives 95 %.
    """
    if not n:
        return math.nan, math.nan
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def clustered_share(values: Sequence[float], groups: Sequence[str]) -> tuple[float, float]:
    """Wilson's interval of the mean of `values`, each in [0, 1], where those of one group (prompt)
    go together: of as many observations as tell as much (Kish 1965, effective sample size).

    (NaN, NaN) without values.
    """
    n = len(values)
    if not n:
        return math.nan, math.nan
    observed = np.asarray(values, dtype=np.float64)
    rate = float(observed.mean())
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.bincount(place, weights=observed - rate)
    k = len(sums)
    between = float((sums**2).sum()) * k / max(1, k - 1)
    alone = max(n * rate * (1 - rate), 1e-12)
    effective = n / max(1.0, between / alone)
    return wilson(rate, max(1, round(min(effective, n))))


def resampled(statistics: Floats, *, draws: int, seed: int) -> Floats:
    """Sums (draws, K) of the statistics (n, K) over resamples of their rows.

    The rows that are drawn depend on n, `draws` and `seed` alone.
    """
    n, width = statistics.shape
    size = max(1, AT_ONCE // n)
    starts = range(0, draws, size)
    blocks = [_weights(n, min(size, draws - start), (seed, start)) @ statistics for start in starts]
    sums: Floats = np.concatenate([np.empty((0, width)), *blocks])
    return sums


@lru_cache(maxsize=4)
def _weights(n: int, draws: int, seed: tuple[int, int]) -> Floats:
    """Counts (draws, n) of how often each of n rows is drawn; all models share one drawing."""
    rng = np.random.default_rng([*seed, 9])
    drawn = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def percentiles(values: Floats) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; NaN where one of them is no number."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
