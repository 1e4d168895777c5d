"""Labels from several annotators' votes: majority, Dawid-Skene, and GLAD.

Votes come as three equal-length integer arrays, one entry per vote: which item (0..items-1),
which worker (0..workers-1), which class (0..classes-1). Pure numpy.

References: Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM
Algorithm" (1979), with full confusion matrices and a prior that leans on the diagonal: a model
with one reliability per worker is worse than the majority when errors depend on the class.
Whitehill, Ruvolo, Wu, Bergsma and Movellan, "Whose Vote Should Count More: Optimal Integration of
Labels from Labelers of Unknown Expertise" (2009), which gives items a difficulty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PLACE = {"a": 0, "tie": 1, "both_bad": 1, "b": 2}
"""The class of a choice among A, tie, B."""
# Pseudo-counts of every confusion cell, and what the diagonal gets on top.
SMOOTHING, DIAGONAL = 0.1, 0.5
ITERATIONS, TOLERANCE = 60, 1e-5
SHRINKAGE = 4.0
"""Votes of an average annotator that every row of a confusion matrix starts from."""
ABILITY, EASE = 1.0, 1.0
"""Means of GLAD's standard normal priors: of abilities, and of logarithms of easiness."""


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """Labels and reliabilities that the votes amount to.

    `posteriors` (items, classes); items without votes get the class prior. `confusion`
    (workers, classes, classes): rows are the true class, columns the answer. `reliability`
    (workers): chance of a right answer on an item drawn from the class prior, `prior` (classes).
    """

    posteriors: Floats
    confusion: Floats
    prior: Floats
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
        prior=prior,
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
    return _softmax(np.log(prior + 1e-12) + evidence)


def _without_votes(*, items: int, workers: int, classes: int) -> Consensus:
    """Nobody voted: uniform posteriors and what the prior alone says about workers."""
    prior = SMOOTHING + DIAGONAL * np.eye(classes)
    confusion = np.tile(prior / prior.sum(axis=1, keepdims=True), (workers, 1, 1))
    return Consensus(
        posteriors=np.full((items, classes), 1 / classes),
        confusion=confusion,
        prior=np.full(classes, 1 / classes),
        reliability=np.full(workers, float(confusion[0, 0, 0]) if workers else 0.0)[:workers],
        iterations=0,
    )


def preferences(
    item: Ints,
    worker: Ints,
    choice: Ints,
    flipped: Bools,
    known: Ints | None = None,
    tells: Bools | None = None,
    *,
    items: int,
    workers: int,
) -> Consensus:
    """Dawid-Skene for A, tie, B (0, 1, 2) with annotators who may lean to one side.

    Confusion matrices are those of left, tie and right: symmetric in A and B, with a lean of the
    annotator's own. They start from `SHRINKAGE` votes of the average annotator, and a vote that
    stands alone on its item teaches nothing about its author. `flipped` votes saw B on the left;
    `known` has the right class where it is given (gold and adjudicated items), else -1. Only votes
    of `tells`, by default all, say how reliable their authors are.
    """
    if not item.size:
        return _without_votes(items=items, workers=workers, classes=3)
    fixed = np.full(items, -1) if known is None else known
    voted = np.bincount(item, minlength=items) > 0
    shown = np.where(flipped, 2 - choice, choice)
    # Where a class of the completions is on the screen, per vote; flipping is its own inverse.
    places = np.where(flipped[:, None], [2, 1, 0], [0, 1, 2])
    taught = comparable(item, fixed)
    taught = taught if tells is None else taught & tells
    posteriors = _anchored(vote_shares(item, choice, items=items, classes=3), fixed)
    for step in range(1, ITERATIONS + 1):  # noqa: B007 (reported)
        prior = _even(posteriors[voted].mean(axis=0))
        seen = np.take_along_axis(posteriors[item[taught]], places[taught], axis=1)
        confusion = _sided_confusion(seen, worker[taught], shown[taught], workers=workers)
        before = posteriors
        posteriors = _sided_posteriors(prior, confusion, item, worker, shown, places, fixed)
        if np.abs(posteriors - before).max() < TOLERANCE:
            break
    reliability = np.diagonal(confusion, axis1=1, axis2=2) @ prior
    return Consensus(
        posteriors=posteriors,
        confusion=confusion,
        prior=prior,
        reliability=reliability,
        iterations=step,
    )


def without(
    estimate: Consensus,
    left_out: Bools,
    item: Ints,
    worker: Ints,
    choice: Ints,
    flipped: Bools,
    known: Ints,
) -> Floats:
    """The posteriors (items, classes) of `preferences` when the votes `left_out` say nothing."""
    kept = ~left_out
    shown = np.where(flipped, 2 - choice, choice)[kept]
    places = np.where(flipped[:, None], [2, 1, 0], [0, 1, 2])[kept]
    return _sided_posteriors(
        estimate.prior, estimate.confusion, item[kept], worker[kept], shown, places, known
    )


def _sided_posteriors(
    prior: Floats,
    confusion: Floats,
    item: Ints,
    worker: Ints,
    shown: Ints,
    places: Ints,
    known: Ints,
) -> Floats:
    """E step: `places` (votes, classes) says where on the screen each class was."""
    evidence = np.take_along_axis(np.log(confusion)[worker, :, shown], places, axis=1)
    scores = np.log(prior + 1e-12) + _sums(item, evidence, items=len(known))
    return _anchored(_softmax(scores), known)


def sided_evidence(confusion: Floats) -> dict[tuple[str, bool], tuple[float, float, float]]:
    """The evidence in one vote: (choice, B on the left) -> log P(vote | A, tie, B right).

    `confusion` (3, 3) is the annotator's of `preferences`. Added to the log prior and over the
    votes, the softmax is the posterior.
    """
    logs = np.log(confusion)
    told = {}
    for choice, place in PLACE.items():
        for flipped in (False, True):
            shown, places = (2 - place, [2, 1, 0]) if flipped else (place, [0, 1, 2])
            a, tie, b = logs[places, shown].tolist()
            told[choice, flipped] = (a, tie, b)
    return told


def _sums(item: Ints, evidence: Floats, *, items: int) -> Floats:
    """The votes' evidence per item (items, classes)."""
    return np.stack([np.bincount(item, weights=e, minlength=items) for e in evidence.T], axis=1)


def comparable(item: Ints, known: Ints) -> Bools:
    """Mask of votes that tell about their authors: others voted too, or the answer is known."""
    return ((np.bincount(item, minlength=len(known)) > 1) | (known >= 0))[item]


def _anchored(posteriors: Floats, known: Ints) -> Floats:
    """The posteriors, certain where the right class is known."""
    return np.where((known >= 0)[:, None], np.eye(posteriors.shape[1])[known], posteriors)


def _even(prior: Floats) -> Floats:
    """The prior with A and B alike."""
    return np.asarray((prior + prior[::-1]) / 2, dtype=np.float64)


def _sided_confusion(seen: Floats, worker: Ints, shown: Ints, *, workers: int) -> Floats:
    """M step: (workers, true, answered) by side of the screen, each drawn to the average."""
    counts = np.stack(
        [
            np.stack(
                [
                    np.bincount(worker, weights=seen[:, t] * (shown == l), minlength=workers)
                    for l in range(3)  # noqa: E741 (the answer's index in the paper)
                ],
                axis=1,
            )
            for t in range(3)
        ],
        axis=1,
    )
    pooled = counts.sum(axis=0) + SMOOTHING + DIAGONAL * np.eye(3)
    pooled = pooled + pooled[::-1, ::-1]
    counts = counts + SHRINKAGE * pooled / pooled.sum(axis=1, keepdims=True)
    return np.asarray(counts / counts.sum(axis=2, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """Labels, abilities and difficulties by GLAD.

    `posteriors` (items, classes), `ability` (workers; 0 guesses, below 0 answers wrongly on
    purpose) and `ease` (items; above 0). A vote is right with sigmoid(ability * ease).
    """

    posteriors: Floats
    ability: Floats
    ease: Floats
    iterations: int


def glad(
    item: Ints, worker: Ints, choice: Ints, *, items: int, workers: int, classes: int
) -> Difficulty:
    """EM for class posteriors, every worker's ability and every item's easiness.

    Classes are equally likely beforehand, as are the wrong answers. Unlike the paper's gradient
    ascent, the M step takes one damped Newton step in each parameter.
    """
    ability, log_ease = np.full(workers, ABILITY), np.full(items, EASE)
    posteriors = np.full((items, classes), 1 / classes)
    step = 0
    for step in range(1, ITERATIONS + 1):  # noqa: B007 (reported)
        right = _sigmoid(ability[worker] * np.exp(log_ease)[item])
        # The log odds of a class: those of its votes being right against one wrong answer.
        odds = np.log(right * (classes - 1) / (1 - right))
        scores = np.bincount(item * classes + choice, weights=odds, minlength=items * classes)
        updated = _softmax(scores.astype(np.float64).reshape(items, classes))
        change = float(np.abs(updated - posteriors).max(initial=0))
        posteriors = updated
        if change < TOLERANCE:
            break
        believed = posteriors[item, choice]
        for _ in range(2):
            ability = _newton(ability, ABILITY, worker, np.exp(log_ease)[item], believed, right)
            right = _sigmoid(ability[worker] * np.exp(log_ease)[item])
            slope = ability[worker] * np.exp(log_ease)[item]
            log_ease = _newton(log_ease, EASE, item, slope, believed, right)
            right = _sigmoid(ability[worker] * np.exp(log_ease)[item])
    return Difficulty(
        posteriors=posteriors, ability=ability, ease=np.exp(log_ease), iterations=step
    )


def _newton(
    at: Floats, mean: float, index: Ints, slope: Floats, believed: Floats, right: Floats
) -> Floats:
    """One step up the expected log likelihood plus the prior's, in every parameter at once."""
    gradient = np.bincount(index, weights=(believed - right) * slope, minlength=len(at))
    curvature = np.bincount(index, weights=right * (1 - right) * slope**2, minlength=len(at))
    # At most 1 per step: easiness is an exponent.
    return at + np.clip((gradient - (at - mean)) / (curvature + 1), -1, 1)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), dtype=np.float64)


def _softmax(scores: Floats) -> Floats:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
