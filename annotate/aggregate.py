"""Labels from several annotators' votes: majority, and Dawid-Skene with annotator reliabilities.

Votes come as three equal-length integer arrays, one entry per vote: which item (0..items-1),
which worker (0..workers-1), which class (0..classes-1). Pure numpy.

Reference: Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm" (1979), with full confusion matrices and a prior that leans on the diagonal: a model
with one reliability per worker is worse than the majority when errors depend on the class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Pseudo-counts of every confusion cell, and what the diagonal gets on top.
SMOOTHING, DIAGONAL = 0.1, 0.5
ITERATIONS, TOLERANCE = 60, 1e-5


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """What the votes amount to.

    `posteriors` (items, classes); items without votes get the class prior. `confusion`
    (workers, classes, classes): rows are the true class, columns the answer. `reliability`
    (workers): chance of a right answer on an item drawn from the class prior.
    """

    posteriors: Floats
    confusion: Floats
    reliability: Floats
    iterations: int


def vote_shares(item: Ints, choice: Ints, *, items: int, classes: int) -> Floats:
    """Share of each class among an item's votes (items, classes); rows of zeros without votes."""
    counts = np.stack(
        [np.bincount(item, weights=choice == c, minlength=items) for c in range(classes)], axis=1
    )
    shares: Floats = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def majority(item: Ints, choice: Ints, *, items: int, classes: int) -> Ints:
    """The class with most votes per item; -1 where two share the lead or nobody voted."""
    shares = vote_shares(item, choice, items=items, classes=classes)
    best = shares.max(axis=1)
    leaders = np.isclose(shares, best[:, None]).sum(axis=1)
    winner = shares.argmax(axis=1).astype(np.int64)
    return np.where((best > 0) & (leaders == 1), winner, -1)


def dawid_skene(
    item: Ints, worker: Ints, choice: Ints, *, items: int, workers: int, classes: int
) -> Consensus:
    """EM for class posteriors and every worker's confusion matrix."""
    voted = np.bincount(item, minlength=items) > 0
    posteriors = vote_shares(item, choice, items=items, classes=classes)
    if not voted.any():
        return _without_votes(items=items, workers=workers, classes=classes)
    step = 0
    for step in range(1, ITERATIONS + 1):  # noqa: B007 (reported)
        prior = posteriors[voted].mean(axis=0)
        confusion = _confusion(posteriors, item, worker, choice, workers=workers)
        updated = _posteriors(prior, confusion, item, worker, choice, items=items)
        change = float(np.abs(updated - posteriors)[voted].max())
        posteriors = updated
        if change < TOLERANCE:
            break
    diagonal = np.diagonal(confusion, axis1=1, axis2=2)
    return Consensus(
        posteriors=posteriors,
        confusion=confusion,
        reliability=diagonal @ posteriors[voted].mean(axis=0),
        iterations=step,
    )


def _confusion(
    posteriors: Floats, item: Ints, worker: Ints, choice: Ints, *, workers: int
) -> Floats:
    """M step: expected answers (workers, true, answered), smoothed and normalised."""
    classes = posteriors.shape[1]
    cells = [
        [
            np.bincount(worker, weights=posteriors[item, t] * (choice == l), minlength=workers)
            for l in range(classes)  # noqa: E741 (the answer's index in the paper)
        ]
        for t in range(classes)
    ]
    counts = np.array(cells).transpose(2, 0, 1) + SMOOTHING + DIAGONAL * np.eye(classes)
    return np.asarray(counts / counts.sum(axis=2, keepdims=True), dtype=np.float64)


def _posteriors(
    prior: Floats, confusion: Floats, item: Ints, worker: Ints, choice: Ints, *, items: int
) -> Floats:
    """E step: softmax of log prior + the votes' log likelihoods (items, classes)."""
    logs = np.log(confusion)
    evidence = np.stack(
        [
            np.bincount(item, weights=logs[worker, t, choice], minlength=items)
            for t in range(len(prior))
        ],
        axis=1,
    )
    scores = np.log(prior + 1e-12) + evidence
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def _without_votes(*, items: int, workers: int, classes: int) -> Consensus:
    """Nobody voted: uniform posteriors and what the prior alone says about workers."""
    prior = SMOOTHING + DIAGONAL * np.eye(classes)
    confusion = np.tile(prior / prior.sum(axis=1, keepdims=True), (workers, 1, 1))
    return Consensus(
        posteriors=np.full((items, classes), 1 / classes),
        confusion=confusion,
        reliability=np.full(workers, float(confusion[0, 0, 0]) if workers else 0.0)[:workers],
        iterations=0,
    )
