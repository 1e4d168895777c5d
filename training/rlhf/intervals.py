"""95 % intervals by the bootstrap over prompts, paired between models (numpy only).

Efron and Tibshirani 1993, percentile method. Every resample is one draw of prompts; models that
answered the same prompts are resampled alike, so that hard prompts do not blur their difference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from training.rlhf.acquire import Floats

AT_ONCE = 4_000_000
"""Numbers of one block of draws, 32 MB."""

Pool = Callable[[Floats, int], float]
"""What the sums (K,) of K statistics over n replies say."""


def resampled(statistics: Floats, *, draws: int, seed: int) -> Floats:
    """Sums (draws, K) of the statistics (n, K) over resamples of their rows.

    The rows that are drawn depend on n, `draws` and `seed` alone.
    """
    n = len(statistics)
    size = max(1, AT_ONCE // n)
    starts = range(0, draws, size)
    blocks = [_weights(n, min(size, draws - start), (seed, start)) @ statistics for start in starts]
    sums: Floats = np.concatenate(blocks)
    return sums


@lru_cache(maxsize=2)
def _weights(n: int, draws: int, seed: tuple[int, int]) -> Floats:
    """How often each of n rows is drawn, (draws, n); many measures share one drawing."""
    rng = np.random.default_rng([*seed, 9])
    found: Floats = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    return found


def pooled(statistics: Floats, pool: Pool, *, draws: int, seed: int) -> Floats:
    """The pooled value in every resample, (draws,)."""
    sums = resampled(statistics, draws=draws, seed=seed)
    return np.array([pool(row, len(statistics)) for row in sums])


def percentiles(values: Floats) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; NaN where one of them is no number."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
