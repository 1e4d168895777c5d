"""Causes for which the queue asks at random although votes have taught a head, and their end.

Each cause begins at one bound and ends at another, so that the queue does not go to and fro with
every vote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from training.active.arm_comparison import Comparison
from training.rlhf import acquire

Floats = NDArray[np.float64]

TINY_LENGTH = 1e-6
ROWS = 5000
"""Of the pool that its directions are taken of at most."""
SPANNED = 0.99
"""Share of the votes' energy whose directions count as known."""
LEAST_CALIBRATION = (60, 30)
"""Votes and prompts below which nothing is said of calibration."""
STEEPEST, HALVINGS = 10.0, 40
"""Ends of the slopes that are looked for, and halvings of what lies between."""
SURE = 2.5
"""Standard errors of the slope, on either side: it is looked at again and again."""


class Cause(StrEnum):
    """Causes of random order; the names are stored."""

    NO_HEAD = "no_head"
    NO_NUMBERS = "no_numbers"
    CONSTANT = "constant"
    EXHAUSTED = "exhausted"
    DRIFTED = "drifted"
    MISCALIBRATED = "miscalibrated"
    LOSS = "loss"


@dataclass(frozen=True)
class Slope:
    """Slope of the votes' log-odds on those that the head gives them, with its interval: 1 is
    calibrated, below 1 the head is surer than it is right, 0 tells nothing."""

    value: float
    low: float
    high: float
    votes: int


@dataclass(frozen=True)
class Facts:
    """Figures that causes are judged by."""

    open_pairs: int = 1
    """Pairs that may be ranked, with features or without."""
    known: int = 1
    """Of these, those with features."""
    no_numbers: float = 0.0
    """Share of the known whose features are no numbers."""
    constant: float = 0.0
    """Share of the others whose two replies have the same features."""
    outside: float = 0.0
    """Share of their energy in directions that no voted pair has."""
    scale: float = 1.0
    """Root mean square length over that of the voted pairs."""
    slope: Slope | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Rule:
    """A cause: it begins where `begins` holds, and lasts until `ends` does."""

    cause: Cause
    begins: Callable[[Facts], bool]
    ends: Callable[[Facts], bool]


RULES = (
    Rule(Cause.NO_NUMBERS, lambda f: f.no_numbers > 0.5, lambda f: f.no_numbers < 0.25),
    Rule(Cause.CONSTANT, lambda f: f.constant > 0.95, lambda f: f.constant < 0.8),
    Rule(Cause.EXHAUSTED, lambda f: f.open_pairs > 0 == f.known, lambda f: f.known > 0),
    Rule(
        Cause.DRIFTED,
        lambda f: f.outside > 0.9 or not 1 / 4 < f.scale < 4,
        lambda f: f.outside < 0.8 and 1 / 3 < f.scale < 3,
    ),
    Rule(
        Cause.MISCALIBRATED,
        lambda f: f.slope is not None and f.slope.high < 0.5,
        lambda f: f.slope is not None and f.slope.high > 0.7,
    ),
    Rule(
        Cause.LOSS,
        lambda f: f.comparison is not None and f.comparison.high < 0,
        lambda f: f.comparison is not None and f.comparison.gain >= 0,
    ),
)


def judged(facts: Facts, before: str) -> Cause | None:
    """The cause to ask at random for now, by the one so far (a value of `Cause`, or "")."""
    for rule in RULES:
        if rule.begins(facts) or (rule.cause == before and not rule.ends(facts)):
            return rule.cause
    return None


def of_pool(pool: NDArray[np.float16], asked: Floats, *, open_pairs: int) -> Facts:
    """Facts of the open pairs' features, (n, d), beside those of the pairs with votes."""
    some = pool if len(pool) <= ROWS else pool[:: -(-len(pool) // ROWS)]
    x = some.astype(np.float64)
    finite = np.asarray(np.isfinite(x).all(axis=1))
    x = x[finite]
    length = np.linalg.norm(x, axis=1)
    outside, scale = _drift(x, asked)
    return Facts(
        open_pairs=open_pairs,
        known=len(pool),
        no_numbers=float(1 - finite.mean()) if len(finite) else 0.0,
        constant=float((length <= TINY_LENGTH).mean()) if len(x) else 0.0,
        outside=outside,
        scale=scale,
    )


def _drift(x: Floats, asked: Floats) -> tuple[float, float]:
    """Energy of x outside the directions of the voted pairs, and its scale beside theirs."""
    energy, theirs = (float((part * part).sum(axis=1).mean()) if len(part) else 0.0
        for part in (x, asked))  # fmt: skip
    if energy <= TINY_LENGTH**2 or theirs <= TINY_LENGTH**2:
        return 0.0, 1.0
    scale = float(np.sqrt(energy / theirs))
    if len(asked) < 2 * x.shape[1]:
        return 0.0, scale  # too few votes span no space
    values, vectors = np.linalg.eigh(asked.T @ asked)
    order = np.argsort(-values)
    share = np.cumsum(values[order]) / values.sum()
    known = vectors[:, order[: int(np.searchsorted(share, SPANNED)) + 1]]
    inside = float(((x @ known) ** 2).sum(axis=1).mean())
    return 1 - inside / energy, scale


def slope(logit: Floats, value: Floats, prompt: NDArray[np.int64]) -> Slope | None:
    """Slope of votes on the log-odds that they were given, clustered by prompt; None of too few.

    Logistic regression without an intercept: which reply is called A means nothing. The standard
    error is the sandwich over prompts (Liang and Zeger 1986).
    """
    few, fewest = LEAST_CALIBRATION
    if len(value) < few or len(set(prompt.tolist())) < fewest or not np.abs(logit).max() > 1e-6:
        return None
    # The pull falls with the slope; Newton's method runs away from slopes near zero.
    low, high = -STEEPEST, STEEPEST
    for _ in range(HALVINGS):
        b = (low + high) / 2
        if float((logit * (value - acquire.sigmoid(b * logit))).sum()) > 0:
            low = b
        else:
            high = b
    p = acquire.sigmoid(b * logit)
    curve = float((logit**2 * p * (1 - p)).sum()) + 1e-9
    _, places = np.unique(prompt, return_inverse=True)
    pull = np.bincount(places, weights=logit * (value - p))
    n = len(pull)
    error = float(np.sqrt((pull**2).sum() * n / (n - 1)) / curve)
    return Slope(b, b - SURE * error, b + SURE * error, len(value))


def given_logits(
    head: acquire.Head, x: Floats, people: Sequence[int], trust: dict[int, float]
) -> Floats:
    """Log-odds that the head and its opinion of each annotator give to votes for A, (v,)."""
    unknown = acquire.PRIOR_RIGHT[0] / sum(acquire.PRIOR_RIGHT)
    informed = np.array([trust.get(person, unknown) for person in people])
    p = np.clip(informed * acquire.probability(head, x) + (1 - informed) / 2, 1e-6, 1 - 1e-6)
    out: Floats = np.log(p / (1 - p))
    return out
