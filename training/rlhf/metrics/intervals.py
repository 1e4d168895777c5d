"""95 % intervals by the bootstrap over prompts, paired between models (numpy only).

Efron and Tibshirani 1993, percentile method. Every resample is one draw of prompts; models that
answered the same prompts are resampled alike, so that hard prompts do not blur their difference.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from training.rlhf.acquire import Floats

AT_ONCE = 2_000_000
"""Numbers of one block of draws, 16 MB."""


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
    """How often each of n rows is drawn, (draws, n); all models share one drawing."""
    rng = np.random.default_rng([*seed, 9])
    drawn = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * n).reshape(draws, n).astype(np.float64)


def percentiles(values: Floats) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; NaN where one of them is no number."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
