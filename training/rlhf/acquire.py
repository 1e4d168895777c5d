"""Acquisition: rank pairs by how much a vote on each would teach.

Numpy only, so that the web side can refit the head and re-rank the queue between rounds.

A pair is the difference x = f(a) - f(b) of two normalised feature vectors and
P(a is better) = sigmoid(w.x) (Bradley-Terry). `fit` gives the Laplace posterior of w; the
functions in ACQUISITIONS score pairs by it, and `rerank` applies the one that the round's setting
`propose.acquisition` names, when the round proposes pairs and again between rounds. To add one,
write the function and its line of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.rlhf.config import ConfigError, ProposeConfig
from training.rlhf.metrics.arrays import Bools, Floats, sigmoid

CLIP = 2.5
"""Features are cut at this many standard deviations: heavy tails draw every pick to outliers."""
DUPLICATE_QUANTILE = 0.05
"""Pairs whose |x| lies below this quantile are near-duplicates and are never picked actively."""
OUTLIER_QUANTILE = 0.98
"""Nor are pairs above this one."""
MIN_INFORMATION = 1e-4


@dataclass(frozen=True)
class Head:
    """Laplace posterior of the weights: mean (d,), covariance (d, d)."""

    mean: Floats
    covariance: Floats

    def logit(self, x: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and variance of the logit of every pair: (n,), (n,)."""
        variance = np.einsum("ij,ij->i", x @ self.covariance, x)
        return x @ self.mean, np.maximum(variance, 1e-9)


@dataclass(frozen=True)
class Ranking:
    """`order`: picked rows, best first. `scores`: (n,), higher = ask first; -inf = never ask."""

    order: NDArray[np.int64]
    scores: Floats


def normalise(features: Floats, *, dims: int) -> Floats:
    """Standardise, clip, scale to unit length, centre, keep the `dims` principal directions.

    (n, k) -> (n, min(dims, k, n)). Deterministic, signs included. Clip and length come before the
    projection: on raw, heavy-tailed features no acquisition rule beat random choice.
    """
    x = np.asarray(features, dtype=np.float64)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 1e-8, spread, 1.0)
    x = np.clip(x, -CLIP, CLIP)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    x = x / np.where(length > 1e-8, length, 1.0)
    x = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(x.T @ x)
    vectors = vectors[:, ::-1][:, : min(dims, *x.shape)]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    out: Floats = x @ vectors
    return out


def prior_precision(x: Floats) -> float:
    """E|x|^2 / 4: the logit of a typical pair has a prior standard deviation of 2."""
    return max(float((x * x).sum(axis=1).mean()) / 4, 1e-6) if len(x) else 1.0


def fit(
    x: Floats,
    y: Floats,
    *,
    precision: float,
    weights: Floats | None = None,
    start: Floats | None = None,
    steps: int = 32,
) -> Head:
    """Maximum a posteriori weights of logistic regression without intercept, and their covariance.

    Args:
        x: (n, d) feature differences.
        y: (n,) in [0, 1], the share of votes for a; 0.5 is a tie.
        precision: of the prior N(0, 1 / precision).
        weights: (n,) mass of each observation, 1 if None.
        start: (d,) where Newton's method starts.
    """
    mass = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = np.zeros(x.shape[1]) if start is None else np.array(start, dtype=np.float64)
    for _ in range(steps):
        gradient, hessian = _derivatives(x, y, mass, w, precision)
        step: Floats = np.linalg.solve(hessian, gradient).astype(np.float64)
        decrement = float(gradient @ step)
        if decrement < 1e-10:
            break
        w = _backtrack(x, y, mass, w, precision, step=step, decrement=decrement)
    _, hessian = _derivatives(x, y, mass, w, precision)
    return Head(mean=w, covariance=_inverse(hessian))


def _inverse(matrix: Floats) -> Floats:
    inverse: Floats = np.linalg.inv(matrix).astype(np.float64)
    return inverse


def _derivatives(
    x: Floats, y: Floats, mass: Floats, w: Floats, precision: float
) -> tuple[Floats, Floats]:
    p = sigmoid(x @ w)
    gradient = x.T @ (mass * (p - y)) + precision * w
    hessian = (x * (mass * p * (1 - p))[:, None]).T @ x + precision * np.eye(x.shape[1])
    return gradient, hessian


def _objective(x: Floats, y: Floats, mass: Floats, w: Floats, precision: float) -> float:
    logit = x @ w
    return float(mass @ (np.logaddexp(0.0, logit) - y * logit) + 0.5 * precision * (w @ w))


def _backtrack(
    x: Floats,
    y: Floats,
    mass: Floats,
    w: Floats,
    precision: float,
    *,
    step: Floats,
    decrement: float,
) -> Floats:
    """Halve the Newton step until the objective falls enough (Armijo)."""
    before, size = _objective(x, y, mass, w, precision), 1.0
    while size > 1e-8:
        after: Floats = w - size * step
        if _objective(x, y, mass, after, precision) <= before - 1e-4 * size * decrement:
            return after
        size /= 2
    return w


def probability(head: Head, x: Floats) -> Floats:
    """Posterior mean of P(a is better) for every pair: (n,).

    MacKay's probit approximation (1992; Bishop 2006, Pattern Recognition and Machine Learning,
    equations 4.153 and 4.154).
    """
    mean, variance = head.logit(x)
    return sigmoid(mean / np.sqrt(1 + np.pi * variance / 8))


def information(head: Head, x: Floats) -> Floats:
    """Expected Fisher information p(1-p) of one vote on each pair, under the posterior: (n,)."""
    p = probability(head, x)
    out: Floats = np.maximum(p * (1 - p), MIN_INFORMATION)
    return out


class Acquisition(Protocol):
    """Scores of the pairs that may be asked about."""

    def __call__(self, x: Floats, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
        """Return one finite, positive score per pair, (p,); the highest is asked first.

        Args:
            x: (p, d) feature differences, in an order drawn by seed: equal scores keep it.
            head: posterior of the weights, given every vote so far.
            n: size of the batch that is picked jointly, 0 to p.
            rng: the source of every random draw, seeded by the round.
        """


def fisher_greedy(x: Floats, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Greedy D-optimal batch: repeatedly the pair with the largest log(1 + p(1-p) x'Sx).

    It maximises the gain in log det of the posterior precision (D-optimal design; Shen, Sun and
    Ton 2025, arXiv 2502.04354). After each pick S is downdated by the information of one vote on
    it, so the next pick adds something else. The gains never rise from pick to pick, so a picked
    pair's gain at its turn and an unpicked pair's gain after the last turn together form the
    scores.
    """
    covariance = head.covariance.copy()
    weight = information(head, x)
    _, variance = head.logit(x)
    free = np.ones(len(x), dtype=bool)
    scores = np.empty(len(x))
    for _ in range(n):
        gain = np.where(free, np.log1p(weight * variance), -np.inf)
        pick = int(gain.argmax())
        scores[pick], free[pick] = gain[pick], False
        u = covariance @ x[pick]
        k = weight[pick] / (1 + weight[pick] * variance[pick])
        covariance -= k * np.outer(u, u)
        variance = np.maximum(variance - k * (x @ u) ** 2, 1e-9)
    scores[free] = np.log1p(weight[free] * variance[free])
    return scores


def smallest_margin(x: Floats, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Uncertainty sampling: 1 - |P(a is better) - P(b is better)|, at most 1 (a toss-up).

    Of two outcomes, margin, entropy and least confidence give one order (Settles 2009, Active
    Learning Literature Survey, section 3.1). Nothing keeps a batch from holding many pairs that
    are alike, which is why it is not the default.
    """
    p = probability(head, x)
    # Where p rounds to 0 or 1 the score still has to be positive.
    out: Floats = np.maximum(1 - np.abs(2 * p - 1), np.finfo(np.float64).tiny)
    return out


def uniform(x: Floats, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Draw at random, whatever the votes say: the baseline of every other acquisition.

    Near-duplicates and outliers are left out before, so these pairs are no sample of all pairs:
    honest estimates come from the random stream (`propose.random_share`).
    """
    return 1 - rng.random(len(x))  # in (0, 1]


ACQUISITIONS: dict[str, Acquisition] = {
    "fisher": fisher_greedy,
    "margin": smallest_margin,
    "random": uniform,
}
"""Values of the setting `propose.acquisition`."""


def acquisition(name: str) -> Acquisition:
    """The function that `propose.acquisition` names.

    Raises:
        ConfigError: there is none of this name; the message lists those there are.
    """
    if name not in ACQUISITIONS:
        raise ConfigError(
            f"propose.acquisition must be one of {', '.join(sorted(ACQUISITIONS))}, not {name!r}"
        )
    return ACQUISITIONS[name]


def judgeable(x: Floats) -> Bools:
    """True for pairs that may be picked actively: no near-duplicate, no outlier. (n, d) -> (n,).

    When nearly all pairs have the same |x| nothing is cut off.
    """
    length = np.linalg.norm(x, axis=1)
    if not len(x):
        return np.zeros(0, dtype=bool)
    low, high = np.quantile(length, [DUPLICATE_QUANTILE, OUTLIER_QUANTILE])
    out: Bools = (length > 1e-6) & (length >= low) & (length <= high)
    return out


def rerank(
    labelled: Floats,
    votes: Floats,
    pool: Floats,
    available: Bools,
    config: ProposeConfig,
    *,
    n: int,
    seed: int,
    weights: Floats | None = None,
    pending: Bools | None = None,
) -> Ranking:
    """Rank a pool of pairs by how much one more vote on each would teach.

    Args:
        labelled: (m, d) feature differences of pairs with votes.
        votes: (m,) in [0, 1], the soft label of each.
        pool: (p, d) feature differences of the pairs to rank.
        available: (p,) False for pairs that may not be offered.
        config: settings of the round that the pool belongs to, from its config.json: the
            acquisition, and the mass of votes below which the order is random.
        n: size of the batch that is picked jointly.
        seed: of the random order before there are enough votes, of ties, and of the acquisition.
        weights: (m,) votes behind each label (their mass), 1 if None.
        pending: (p,) pairs on somebody's screen now: not offered, and counted as if answered.

    Raises:
        ConfigError: `propose.acquisition` is not in ACQUISITIONS.
        ValueError: the acquisition did not give one finite, positive score per pair.
    """
    labelled, pool = np.asarray(labelled, dtype=np.float64), np.asarray(pool, dtype=np.float64)
    mass = np.ones(len(votes)) if weights is None else np.asarray(weights, dtype=np.float64)
    free = np.array(available, dtype=bool)
    if pending is not None:
        free &= ~pending
    score, rng = acquisition(config.acquisition), np.random.default_rng(seed)
    if mass.sum() < config.cold_start_votes:
        return _random(free, n, rng)
    head = fit(
        labelled,
        np.asarray(votes, dtype=np.float64),
        precision=prior_precision(np.concatenate([labelled, pool])),
        weights=mass,
    )
    if pending is not None and pending.any():
        head = _answered(head, pool[pending])
    inside = free & judgeable(pool)
    # A random permutation breaks ties by seed instead of by position in the file.
    asked = rng.permutation(len(pool))
    asked = asked[inside[asked]]
    picked = score(pool[asked], head, n=min(n, len(asked)), rng=rng)
    if picked.shape != asked.shape or not (np.isfinite(picked) & (picked > 0)).all():
        raise ValueError(f"{config.acquisition}: not one finite, positive score for every pair")
    # Pairs outside the guards come last but stay in the queue: people may still want them.
    scores = np.where(free, 0.0, -np.inf)
    scores[asked] = picked
    order = asked[np.argsort(-picked, kind="stable")][:n]
    return Ranking(order=order.astype(np.int64), scores=scores)


def _answered(head: Head, x: Floats) -> Head:
    """The posterior after votes that are still under way, which change S but not the mean."""
    weight = information(head, x)
    precision = np.linalg.inv(head.covariance) + (x * weight[:, None]).T @ x
    return Head(mean=head.mean, covariance=_inverse(precision))


def _random(free: Bools, n: int, rng: np.random.Generator) -> Ranking:
    scores = np.where(free, rng.random(len(free)), -np.inf)
    order = np.argsort(-scores, kind="stable")[: min(n, int(free.sum()))]
    return Ranking(order=order.astype(np.int64), scores=scores)
