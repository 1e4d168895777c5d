"""Scores of pairs one by one, by what the head is unsure of."""

from __future__ import annotations

import numpy as np

from training.rlhf.acquisition.candidates import TINY, Candidates
from training.rlhf.metrics.arrays import Floats, sigmoid
from training.rlhf.metrics.pair_features import lots
from training.rlhf.metrics.preference_head import Head, probability

ENSEMBLE = 10
"""Draws from the posterior whose disagreement is measured."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def bald(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Mutual information between the vote and w, in nats (Houlsby et al. 2011, arXiv 1112.5745):
    the entropy of the mean prediction minus the mean entropy, by Gauss-Hermite quadrature."""
    mean, variance = head.logit(pairs.x)
    p = sigmoid(mean[:, None] + np.sqrt(variance)[:, None] * _NODES)
    return np.maximum(_entropy(p @ _WEIGHTS) - _entropy(p) @ _WEIGHTS, TINY)


def _entropy(p: Floats) -> Floats:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    out: Floats = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return out


def ensemble_disagreement(
    pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator
) -> Floats:
    """Standard deviation of P(a is better) among heads drawn from the posterior (query by
    committee; Seung, Opper and Sompolinsky 1992)."""
    factor = np.linalg.cholesky(head.covariance + 1e-12 * np.eye(len(head.mean)))
    members = head.mean + rng.normal(size=(ENSEMBLE, len(head.mean))) @ factor.T
    spread: Floats = np.maximum(sigmoid(pairs.x @ members.T).std(axis=1), TINY)
    return spread


def smallest_margin(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Uncertainty sampling: 1 - |P(a is better) - P(b is better)|, at most 1 (a toss-up).

    Of two outcomes, margin, entropy and least confidence give one order (Settles 2009, Active
    Learning Literature Survey, section 3.1). Nothing keeps a batch from holding many pairs that
    are alike, which is why it is not the default.
    """
    p = probability(head, pairs.x)
    # Where p rounds to 0 or 1 the score still has to be positive.
    score: Floats = np.maximum(1 - np.abs(2 * p - 1), TINY)
    return score


def uniform(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Draw at random, whatever the votes say: the baseline of every other acquisition.

    Near-duplicates and outliers are left out before, so these pairs are no sample of all pairs:
    honest estimates come from the random arm of the queue.
    """
    return 1 - lots(pairs.x, int(rng.integers(2**31)))  # in (0, 1]
