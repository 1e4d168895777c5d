"""Acquisition: rank pairs by how much a vote on each would teach.

Numpy only, so that the web side can refit the head and re-rank the queue between rounds.

A pair is the difference x = f(a) - f(b) of two normalised feature vectors and
P(a is better) = sigmoid(w.x) (Bradley-Terry). `metrics.preference_head` gives the Laplace posterior
of w; the functions in ACQUISITIONS, which stand in the room `acquisition`, score pairs by it, and
`rank` applies the one that the setting `propose.acquisition` names, when a round proposes pairs and
again between rounds. To add one, write the function and its line of the table.

Neither the order of the candidates nor which side is called A changes a score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.rlhf.acquisition.candidates import TINY, Acquisition, Candidates, information
from training.rlhf.acquisition.optimal_design import fisher_greedy, i_optimal_greedy
from training.rlhf.acquisition.prompt_novelty import bal_pm, directions
from training.rlhf.acquisition.uncertainty import (
    bald,
    ensemble_disagreement,
    smallest_margin,
    uniform,
)
from training.rlhf.config import ConfigError, ProposeConfig
from training.rlhf.metrics.arrays import Bools, Floats, sigmoid
from training.rlhf.metrics.pair_features import (
    ROWS_AT_ONCE,
    drawn,
    judgeable,
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
    informed_share,
    inverse,
    predicts,
    prior_precision,
    probability,
)
from training.rlhf.metrics.random_clickers import doubts

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
    "doubts",
    "fit",
    "fit_with_people",
    "information",
    "informed_share",
    "judgeable",
    "moment_of",
    "normalise",
    "predicts",
    "prior_precision",
    "probability",
    "rank",
    "rerank",
    "sigmoid",
]

SHORTLIST = 2000
"""Pairs among which a batch is picked jointly: those with the best scores one by one."""


@dataclass(frozen=True)
class Ranking:
    """`order`: picked rows, best first. `scores`: (n,), higher = ask first; -inf = never ask."""

    order: NDArray[np.int64]
    scores: Floats


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
COMPARE_VOTES = frozenset({"i-optimal", "fisher", "bald", "bal-pm", "ensemble"})
"""Those whose scores fall with what is known of a pair, so that a second vote on one compares with
a first one on another. A toss-up stays one however many voted, and a lot says nothing."""


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
    places = None if prompts is None else directions(np.asarray(prompts[first], dtype=np.float64))
    candidates = Candidates(
        np.asarray(pool[first], dtype=np.float64),
        moment,
        places,
        directions(asked) if asked is not None and places is not None else asked,
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
