"""Features of pairs as acquisition uses them: normalised, screened, and drawn lots for.

The pool may lie in a file: it is read piece by piece. Numpy only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.rlhf.metrics.arrays import Bools, Floats

CLIP = 2.5
"""Features are cut at this many standard deviations: heavy tails draw every pick to outliers."""
DUPLICATE_QUANTILE = 0.05
"""Pairs whose |x| lies below this quantile are near-duplicates and are never picked actively."""
OUTLIER_QUANTILE = 0.98
"""Nor are pairs above this one."""
MOMENT_ROWS = 20_000
"""Pairs that the pool's second moment is taken of at most."""
ROWS_AT_ONCE = 8192
"""Of a pool that is read piece by piece, so that it need not be in memory."""
LOT_FEATURES = 16
"""The first features tell pairs apart: they are principal directions."""


def normalise(features: Floats, *, dims: int, fitted: Bools | None = None) -> Floats:
    """Standardise, clip, scale to unit length, centre, keep the `dims` principal directions.

    (n, k) -> (n, min(dims, k, n)). Deterministic, signs included. Clip and length come before the
    projection: on raw, heavy-tailed features no acquisition rule beat random choice.

    A row with a feature that is no number has no influence on the others and comes out as NaN,
    which `judgeable` screens.

    Args:
        fitted: (n,) rows that means, deviations and directions are taken of, all if None: those of
            held-out prompts are carried along and shape nothing.
    """
    x = np.asarray(features, dtype=np.float64)
    known = np.asarray(np.isfinite(x).all(axis=1))
    of = known if fitted is None else known & fitted
    rows = len(x) if fitted is None else int(fitted.sum())
    out: Floats = np.full((len(x), min(dims, rows, x.shape[1])), np.nan)
    if of.any():
        of_known = _normalised(x[known], of[known], dims=dims)
        # Fewer rows than dims have fewer directions: the others add nothing to any length.
        out[known] = np.pad(of_known, ((0, 0), (0, out.shape[1] - of_known.shape[1])))
    return out


def _normalised(x: Floats, fitted: Bools, *, dims: int) -> Floats:
    spread = x[fitted].std(axis=0)
    x = (x - x[fitted].mean(axis=0)) / np.where(spread > 1e-8, spread, 1.0)
    x = np.clip(x, -CLIP, CLIP)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(length > 1e-8, length, 1.0)
    x = x - x[fitted].mean(axis=0)
    of = x[fitted]
    _, vectors = np.linalg.eigh(of.T @ of)
    vectors = vectors[:, ::-1][:, : min(dims, *of.shape)]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    out: Floats = x @ vectors
    return out


def lots(x: Floats, seed: int) -> Floats:
    """A number in [0, 1) for each pair, drawn by its features and the seed: (n, d) -> (n,).

    The same whatever the order of the pairs is and whichever side is called A.
    """
    turned = np.abs(np.asarray(x[:, :LOT_FEATURES], dtype=np.float32))
    odd = np.random.default_rng(seed).integers(2**63, size=turned.shape[1], dtype=np.uint64) | 1
    bits = np.ascontiguousarray(turned).view(np.uint32).astype(np.uint64)
    mixed = _mixed(_mixed((bits + odd) * odd).sum(axis=1, dtype=np.uint64))
    out: Floats = (mixed >> np.uint64(11)) / 2.0**53
    return out


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on every bit (splitmix64's end; Steele, Lea and Flood 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def judgeable(x: NDArray[Any]) -> Bools:
    """True for pairs that may be picked actively: no near-duplicate, no outlier, no feature that
    is no number. (n, d) -> (n,). When nearly all pairs have the same |x| nothing is cut off.
    """
    length = np.concatenate([np.linalg.norm(part, axis=1) for part in _pieces(x)] or [np.zeros(0)])
    known = np.isfinite(length)
    out: Bools = np.zeros(len(length), dtype=bool)
    if known.any():
        low, high = np.quantile(length[known], [DUPLICATE_QUANTILE, OUTLIER_QUANTILE])
        out = known & (length > 1e-6) & (length >= low) & (length <= high)
    return out


def _pieces(x: NDArray[Any]) -> Iterator[Floats]:
    """The rows in single precision, some thousand at once."""
    for start in range(0, len(x), ROWS_AT_ONCE):
        yield np.asarray(x[start : start + ROWS_AT_ONCE], dtype=np.float32)


def moment_of(pool: NDArray[Any], rows: NDArray[np.int64]) -> Floats:
    """Mean of x x' over the rows, or over some twenty thousand of them, which were drawn by lot."""
    chosen = np.sort(rows[:MOMENT_ROWS])
    total = np.zeros((pool.shape[1], pool.shape[1]))
    for start in range(0, len(chosen), ROWS_AT_ONCE):
        x = np.asarray(pool[chosen[start : start + ROWS_AT_ONCE]], dtype=np.float32)
        total += x.T @ x
    return total / max(len(chosen), 1)


def drawn(pool: NDArray[Any], rows: NDArray[np.int64], seed: int) -> Floats:
    parts = [
        lots(pool[rows[start : start + ROWS_AT_ONCE]], seed)
        for start in range(0, len(rows), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts or [np.zeros(0)])
