"""Batches after which the posterior is narrowest: D-optimal and I-optimal designs."""

from __future__ import annotations

import numpy as np

from training.rlhf.acquisition.candidates import Batch, Candidates, information_at
from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.preference_head import Head


def fisher_greedy(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Greedy D-optimal batch: repeatedly the pair with the largest log(1 + p(1-p) x'Sx).

    It maximises the gain in log det of the posterior precision (D-optimal design; Shen, Sun and
    Ton 2025, arXiv 2502.04354). After each pick S is downdated by the information of one vote on
    it, so the next pick adds something else.
    """
    x, covariance = pairs.x, head.covariance.copy()
    mean, variance = head.logit(x)
    weight = information_at(mean, variance)
    batch = Batch(len(x))
    for _ in range(n):
        pick = batch.take(np.log1p(weight * variance))
        u, c, k = _downdated(x, covariance, variance, weight, pick)
        covariance -= k * np.outer(u, u)
        variance = np.maximum(variance - k * c * c, 1e-9)
    return batch.scores(np.log1p(weight * variance))


def i_optimal_greedy(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Greedy I-optimal batch: repeatedly the pair after which the logits of all pairs of the pool
    are known best, the largest drop of their mean posterior variance (I- or V-optimal design;
    Fedorov 1972, Theory of Optimal Experiments): p(1-p) x'SMSx / (1 + p(1-p) x'Sx).
    """
    x, covariance, moment = pairs.x, head.covariance.copy(), pairs.moment
    toward = x @ covariance
    variance = np.maximum(np.einsum("ij,ij->i", toward, x), 1e-9)
    weight = information_at(x @ head.mean, variance)
    drop = np.einsum("ij,ij->i", toward @ moment, toward)
    batch = Batch(len(x))
    for _ in range(n):
        pick = batch.take(weight * drop / (1 + weight * variance))
        u, c, k = _downdated(x, covariance, variance, weight, pick)
        q = x @ (covariance @ (moment @ u))
        covariance -= k * np.outer(u, u)
        drop = np.maximum(drop - 2 * k * c * q + k * k * c * c * float(u @ moment @ u), 0)
        variance = np.maximum(variance - k * c * c, 1e-9)
    return batch.scores(weight * drop / (1 + weight * variance))


def _downdated(
    x: Floats, covariance: Floats, variance: Floats, weight: Floats, pick: int
) -> tuple[Floats, Floats, float]:
    """S x and X S x of the pick, and the factor by which S falls along it."""
    u = covariance @ x[pick]
    return u, x @ u, float(weight[pick] / (1 + weight[pick] * variance[pick]))
