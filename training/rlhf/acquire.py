"""Acquisition: rank pairs by how much a vote on each would teach.

Numpy only, so that the web side can refit the head and re-rank the queue between rounds.

A pair is the difference x = f(a) - f(b) of two normalised feature vectors and
P(a is better) = sigmoid(w.x) (Bradley-Terry). `metrics.preference_head` gives the Laplace posterior
of w; the functions in ACQUISITIONS score pairs by it, and `rank` applies the one that the setting
`propose.acquisition` names, when a round proposes pairs and again between rounds. To add one, write
the function and its line of the table.

Neither the order of the candidates nor which side is called A changes a score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from training.rlhf.config import ConfigError, ProposeConfig
from training.rlhf.metrics.arrays import Bools, Floats, sigmoid
from training.rlhf.metrics.pair_features import (
    ROWS_AT_ONCE,
    drawn,
    judgeable,
    lots,
    moment_of,
    normalise,
)
from training.rlhf.metrics.preference_head import (
    PRIOR_RIGHT,
    Head,
    People,
    Votes,
    fit,
    fit_with_people,
    inverse,
    mean_probability,
    predicts,
    prior_precision,
    probability,
)

__all__ = [
    "ACQUISITIONS",
    "PRIOR_RIGHT",
    "Acquisition",
    "Candidates",
    "Head",
    "People",
    "Ranking",
    "Votes",
    "acquisition",
    "answered",
    "fit",
    "fit_with_people",
    "information",
    "judgeable",
    "normalise",
    "predicts",
    "prior_precision",
    "probability",
    "rank",
    "rerank",
]

MIN_INFORMATION = 1e-4
TINY = float(np.finfo(np.float64).tiny)
SHORTLIST = 2000
"""Pairs among which a batch is picked jointly: those with the best scores one by one."""
ENSEMBLE = 10
"""Draws from the posterior whose disagreement is measured."""
NEIGHBOUR = 5
"""The prompt asked about that a candidate's distance is measured to, in the order of nearness."""


@dataclass(frozen=True)
class Candidates:
    """The pairs that may be asked about, and what was asked before them."""

    x: Floats
    """(p, d) feature differences."""
    moment: Floats
    """(d, d) mean of x x' over the whole pool: the pairs that have to be predicted."""
    prompts: Floats | None = None
    """(p, k) unit features of each pair's prompt, where they are known."""
    asked: Floats | None = None
    """(m, k) the same of the pairs that have votes."""


@dataclass(frozen=True)
class Ranking:
    """`order`: picked rows, best first. `scores`: (n,), higher = ask first; -inf = never ask."""

    order: NDArray[np.int64]
    scores: Floats


def information(head: Head, x: Floats) -> Floats:
    """Expected Fisher information p(1-p) of one vote on each pair, under the posterior: (n,)."""
    return _information(*head.logit(x))


def _information(mean: Floats, variance: Floats) -> Floats:
    p = mean_probability(mean, variance)
    out: Floats = np.maximum(p * (1 - p), MIN_INFORMATION)
    return out


class Acquisition(Protocol):
    """Scores of the pairs that may be asked about."""

    def __call__(
        self, pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator
    ) -> Floats:
        """Return one finite, positive score per pair, (p,); the highest is asked first.

        Args:
            pairs: the candidates, in an order drawn by seed: equal scores keep it.
            head: posterior of the weights, given every vote so far.
            n: size of the batch that is picked jointly; 0 for scores one by one.
            rng: the source of random draws about the head, seeded by the round. A draw for each
                pair is `lots`, which does not depend on their order.
        """


def fisher_greedy(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """Greedy D-optimal batch: repeatedly the pair with the largest log(1 + p(1-p) x'Sx).

    It maximises the gain in log det of the posterior precision (D-optimal design; Shen, Sun and
    Ton 2025, arXiv 2502.04354). After each pick S is downdated by the information of one vote on
    it, so the next pick adds something else.
    """
    x, covariance = pairs.x, head.covariance.copy()
    mean, variance = head.logit(x)
    weight = _information(mean, variance)
    batch = _Batch(len(x))
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
    weight = _information(x @ head.mean, variance)
    drop = np.einsum("ij,ij->i", toward @ moment, toward)
    batch = _Batch(len(x))
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


class _Batch:
    """A batch picked one after the other, whose scores fall in the order of the picks."""

    def __init__(self, pairs: int) -> None:
        self._free, self._scores = np.ones(pairs, dtype=bool), np.zeros(pairs)
        self._least = np.inf

    def take(self, gain: Floats) -> int:
        """The free pair with the largest gain, which is free no longer."""
        pick = int(np.where(self._free, gain, -np.inf).argmax())
        self._least = min(self._least, float(gain[pick]))
        self._scores[pick], self._free[pick] = self._least, False
        return pick

    def scores(self, gain: Floats) -> Floats:
        """The gain of each pick at its turn, and of the others after the last."""
        rest = np.minimum(gain[self._free], self._least)
        self._scores[self._free] = rest
        return np.maximum(self._scores, TINY)


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


def bal_pm(pairs: Candidates, head: Head, *, n: int, rng: np.random.Generator) -> Floats:
    """BALD times the distance to the fifth nearest prompt that was asked about: what is unknown,
    on prompts that are new (Melo et al. 2024, arXiv 2406.10023, whose entropy of the acquired
    prompts is estimated by nearest neighbours). Greedy: each pick counts as asked about.

    Without features of prompts, the direction of x stands for them, whichever side is called A.
    """
    known = bald(pairs, head, n=0, rng=rng)
    places = _places(pairs.x) if pairs.prompts is None else pairs.prompts
    asked = np.zeros((0, places.shape[1])) if pairs.asked is None else pairs.asked
    if len(asked) and asked.shape[1] == pairs.x.shape[1] and pairs.prompts is None:
        asked = _places(asked)
    both_ways = pairs.prompts is None
    near = np.full((len(places), NEIGHBOUR), 2.0)
    for start in range(0, len(asked), ROWS_AT_ONCE):
        far = _distances(places, asked[start : start + ROWS_AT_ONCE], both_ways)
        near = np.sort(np.concatenate([near, far], axis=1), axis=1)[:, :NEIGHBOUR]
    batch = _Batch(len(places))
    for _ in range(n):
        pick = batch.take(known * near[:, -1])
        far = _distances(places, places[pick : pick + 1], both_ways)
        near = np.sort(np.concatenate([near, far], axis=1), axis=1)[:, :NEIGHBOUR]
    return batch.scores(known * near[:, -1])


def _places(x: Floats) -> Floats:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    out: Floats = x / np.where(length > 1e-12, length, 1.0)
    return out


def _distances(one: Floats, other: Floats, both_ways: bool) -> Floats:
    """Between unit vectors, (p, m); of a vector and its opposite 0, where sides mean nothing."""
    alike = one @ other.T
    alike = np.abs(alike) if both_ways else alike
    return np.sqrt(np.maximum(2 - 2 * alike, 0))


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


ACQUISITIONS: dict[str, Acquisition] = {
    "i-optimal": i_optimal_greedy,
    "fisher": fisher_greedy,
    "bald": bald,
    "bal-pm": bal_pm,
    "ensemble": ensemble_disagreement,
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
    """Rank a pool by the soft labels of other pairs, whoever gave them: `fit`, then `rank`.

    Args:
        labelled: (m, d) feature differences of pairs with votes; rows that hold anything but
            numbers teach nothing.
        votes: (m,) in [0, 1], the soft label of each.
        weights: (m,) votes behind each label (their mass), 1 if None; with less in all than
            `propose.cold_start_votes` the order is drawn by lot.

    The others, and what is raised, are those of `rank`.
    """
    acquisition(config.acquisition)
    labelled, pool = np.asarray(labelled, dtype=np.float64), np.asarray(pool, dtype=np.float64)
    mass = np.ones(len(votes)) if weights is None else np.asarray(weights, dtype=np.float64)
    known = np.isfinite(labelled).all(axis=1)
    labelled, mass, head = labelled[known], mass[known], None
    if mass.sum() >= config.cold_start_votes:
        precision = prior_precision(np.concatenate([labelled, pool]))
        head = fit(labelled, np.asarray(votes, float)[known], precision=precision, weights=mass)
    return rank(head, pool, available, config, n=n, seed=seed, pending=pending, asked=labelled)


def rank(
    head: Head | None,
    pool: NDArray[Any],
    available: Bools,
    config: ProposeConfig,
    *,
    n: int,
    seed: int,
    pending: Bools | None = None,
    prompts: NDArray[Any] | None = None,
    asked: Floats | None = None,
) -> Ranking:
    """Rank a pool of pairs by how much one more vote on each would teach, in time linear in it.

    All pairs are scored one by one, piece by piece, so that the pool may lie in a file; a batch is
    then picked jointly among the best SHORTLIST, and those come first.

    Args:
        head: posterior of the weights given every vote so far; None where nothing is known yet:
            then the order is drawn by lot.
        pool: (p, d) feature differences of the pairs to rank.
        available: (p,) False for pairs that may not be offered.
        config: settings of the round that the pool belongs to, which name the acquisition.
        n: size of the batch.
        seed: of the random order before there is a head, of ties, and of the acquisition.
        pending: (p,) pairs on somebody's screen now: not offered, and counted as if answered where
            their features are numbers.
        prompts: (p, k) features of the prompts; asked: (m, k) of those that have votes.

    Raises:
        ConfigError: `propose.acquisition` is not in ACQUISITIONS.
        ValueError: the acquisition did not give one finite, positive score per pair.
    """
    score, free = acquisition(config.acquisition), np.array(available, dtype=bool)
    if pending is not None:
        free &= ~pending
    if head is None:
        return _by_lot(pool, free, n, seed)
    if pending is not None:
        head = answered(head, _numbers(np.asarray(pool[pending], dtype=np.float64)))
    inside = np.flatnonzero(free & judgeable(pool))
    # Ties fall by lot instead of by position in the file.
    inside = inside[np.argsort(drawn(pool, inside, seed), kind="stable")]
    moment = moment_of(pool, inside)
    first, single = inside, np.zeros(0)
    if len(inside) > SHORTLIST:
        single = _one_by_one(score, pool, inside, head, moment, seed)
        best = np.argsort(-single, kind="stable")
        first, inside, single = inside[best[:SHORTLIST]], inside[best], single[best]
    places = None if prompts is None else _places(np.asarray(prompts[first], dtype=np.float64))
    candidates = Candidates(
        np.asarray(pool[first], dtype=np.float64),
        moment,
        places,
        _places(asked) if asked is not None and places is not None else asked,
    )
    rng = np.random.default_rng(seed)
    picked = score(candidates, head, n=min(n, len(first)), rng=rng)
    _check(picked, first, config.acquisition)
    # Pairs outside the guards come last but stay in the queue: people may still want them.
    scores = np.where(free, 0.0, -np.inf)
    scores[first] = picked
    if len(inside) > len(first):
        rest = single[SHORTLIST:]
        scores[inside[SHORTLIST:]] = rest * min(1.0, picked.min() / rest.max())
    order = first[np.argsort(-picked, kind="stable")][:n]
    return Ranking(order=order.astype(np.int64), scores=scores)


def _one_by_one(
    score: Acquisition,
    pool: NDArray[Any],
    rows: NDArray[np.int64],
    head: Head,
    moment: Floats,
    seed: int,
) -> Floats:
    """The scores of many pairs without a batch, in single precision: (len(rows),)."""
    single: Any = np.float32
    small = Head(head.mean.astype(single), head.covariance.astype(single))
    toward, scores = moment.astype(np.float32), np.empty(len(rows))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = slice(start, start + ROWS_AT_ONCE)
        x = np.asarray(pool[rows[some]], dtype=np.float32)
        rng = np.random.default_rng(seed)
        scores[some] = score(Candidates(x, toward), small, n=0, rng=rng)  # type: ignore[arg-type]
    return np.maximum(scores, TINY)


def _check(scores: Floats, rows: NDArray[np.int64], name: str) -> None:
    if scores.shape != rows.shape or not (np.isfinite(scores) & (scores > 0)).all():
        raise ValueError(f"{name}: not one finite, positive score for every pair")


def _numbers(x: Floats) -> Floats:
    """The rows that hold nothing but numbers."""
    out: Floats = x[np.isfinite(x).all(axis=1)]
    return out


def answered(head: Head, x: Floats) -> Head:
    """The posterior after votes that are still under way, which change S but not the mean."""
    if not len(x):
        return head
    weight = information(head, x)
    precision = np.linalg.inv(head.covariance) + (x * weight[:, None]).T @ x
    return replace(head, covariance=inverse(precision))


def _by_lot(pool: NDArray[Any], free: Bools, n: int, seed: int) -> Ranking:
    lot = drawn(pool, np.arange(len(pool)), seed)
    scores = np.where(free, 1 - lot, -np.inf)
    order = np.argsort(-scores, kind="stable")[: min(n, int(free.sum()))]
    return Ranking(order=order.astype(np.int64), scores=scores)
