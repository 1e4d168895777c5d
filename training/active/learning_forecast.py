"""A forecast of what more votes bring: the learning curve of the head, and an inverse power law.

Heads on growing parts of the votes are scored on votes of the random arm that none of them knows:
folds by prompt, and pairs of held-out prompts. The law a - b n^-c (Figueroa et al. 2012, Predicting
sample size required for classification performance) is fitted to the accuracies; its interval comes
from prompts drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.active.arm_comparison import modes

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

FOLDS, SIZES, SMALLEST = 3, 6, 50
LEAST_VOTES, LEAST_SCORED = 150, 60
"""Votes to learn from, and votes of the random arm to score on, below which no curve is told."""
RESAMPLES = 200
EXPONENTS = np.array([0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
AHEAD = 500
"""Votes of which the forecast says what they bring."""
POINT = 0.01
NOISE = 0.01
"""Heads of equally many votes differ by a point and more by luck: what brings less is not seen."""
MOST_MULTIPLE = 4.0
"""Times the votes there are, beyond which nothing is forecast."""


@dataclass(frozen=True)
class Forecast:
    """A learning curve and what it promises; accuracies from 0 to 1."""

    votes: list[int]
    accuracy: list[float]
    low: list[float]
    high: list[float]
    scored: int
    """Votes that the heads were scored on."""
    gain: float
    gain_low: float
    gain_high: float
    """Of the next AHEAD votes."""
    point: int | None
    point_low: int | None
    point_high: int | None
    """Votes for one point more; None where the law does not reach it, or only far beyond."""
    stop: bool
    """True where even the upper end of the gain lies below the noise."""


@dataclass(frozen=True)
class Evidence:
    """Votes of training prompts, and those of the random arm that heads are scored on."""

    x: Floats
    value: Floats
    weight: Floats
    prompt: Whole
    random: NDArray[np.bool_]
    """(v, ...) rows of votes that teach; heads are scored on the random ones out of fold."""
    held_x: Floats
    held_value: Floats
    held_prompt: Whole
    """(h, ...) votes on held-out prompts."""


def lacking(of: Evidence) -> str:
    """The thing that a forecast lacks, as a clause; empty where it can be made."""
    if (short := LEAST_VOTES - len(of.value)) > 0:
        return f"{short} more votes"
    if (short := LEAST_SCORED - int(of.random.sum()) - len(of.held_value)) > 0:
        return f"{short} more votes of the random arm"
    return ""


def forecast(of: Evidence, *, precision: float, seed: int) -> Forecast | None:
    """The learning curve and its continuation; None where `lacking` says why not."""
    if lacking(of):
        return None
    rng = np.random.default_rng([seed, 23])
    sizes = np.unique(np.geomspace(SMALLEST, len(of.value) * (FOLDS - 1) / FOLDS, SIZES).round())
    right, prompt = _scored(of, sizes.astype(np.int64), precision, rng)
    names, places = np.unique(prompt, return_inverse=True)
    sums = np.stack([np.bincount(places, weights=column) for column in right.T], axis=1)
    counts = np.bincount(places).astype(np.float64)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    curves = (draws @ sums) / np.maximum(draws @ counts, 1)[:, None]
    curve = sums.sum(axis=0) / counts.sum()
    return _told(sizes, curve, curves, now=len(of.value), scored=len(right))


def _scored(
    of: Evidence, sizes: Whole, precision: float, rng: np.random.Generator
) -> tuple[Floats, Whole]:
    """Right answers, (scored, sizes), a tie one half; and the prompt of each."""
    names, places = np.unique(of.prompt, return_inverse=True)
    fold = rng.permutation(len(names))[places] % FOLDS
    parts, prompts = [], []
    held = np.zeros((len(of.held_value), len(sizes)))
    for one in range(FOLDS):
        test = np.flatnonzero((fold == one) & of.random)
        train = rng.permutation(np.flatnonzero(fold != one))
        right = np.zeros((len(test), len(sizes)))
        for column, size in enumerate(sizes):
            rows = train[:size][None]
            (w,) = modes(of.x[rows], of.value[rows], of.weight[rows], precision)
            right[:, column] = _right(of.x[test] @ w, of.value[test])
            held[:, column] += _right(of.held_x @ w, of.held_value) / FOLDS
        parts.append(right)
        prompts.append(of.prompt[test])
    return np.concatenate([*parts, held]), np.concatenate([*prompts, of.held_prompt])


def _right(logit: Floats, value: Floats) -> Floats:
    out: Floats = np.where(logit > 0, value, 1 - value)
    return out


def _told(sizes: Floats, curve: Floats, curves: Floats, *, now: int, scored: int) -> Forecast:
    laws = [power_law(sizes, one) for one in (curve, *curves)]
    ahead = [_at(law, now + AHEAD) - _at(law, now) for law in laws]
    gain_low, gain_high = np.quantile(ahead[1:], [0.025, 0.975]).tolist()
    wait = np.array([_votes_for(law, now) for law in laws])
    low, high = (float(np.quantile(wait[1:], q, method="nearest")) for q in (0.025, 0.975))
    ends = np.quantile(curves, [0.025, 0.975], axis=0)
    return Forecast(
        votes=[int(size) for size in sizes],
        accuracy=curve.tolist(),
        low=ends[0].tolist(),
        high=ends[1].tolist(),
        scored=scored,
        gain=float(ahead[0]),
        gain_low=gain_low,
        gain_high=gain_high,
        point=_whole(float(wait[0])),
        point_low=_whole(low),
        point_high=_whole(high),
        stop=gain_high < NOISE,
    )


def _whole(votes: float) -> int | None:
    return int(round(votes, -1)) if np.isfinite(votes) else None


Law = tuple[float, float, float]


def power_law(votes: Floats, accuracy: Sequence[float] | Floats) -> Law:
    """a, b >= 0 and c of a - b n^-c with the least squares, c from EXPONENTS.

    Weighted by the votes: the variance of a head's accuracy falls with them.
    """
    y = np.asarray(accuracy, dtype=np.float64)
    share = votes / votes.sum()
    best, least = (float(share @ y), 0.0, 1.0), np.inf
    for c in EXPONENTS:
        z = votes**-c
        off, rise = z - share @ z, y - share @ y
        b = max(-float(share @ (off * rise)) / max(float(share @ (off * off)), 1e-30), 0.0)
        a = float(share @ y + b * (share @ z))
        error = float(share @ (a - b * z - y) ** 2)
        # A ceiling above 1 cannot be; a flatter law beside it nearly always fits as well.
        if error < least and a <= 1:
            best, least = (a, b, float(c)), error
    return best


def _at(law: Law, votes: float) -> float:
    a, b, c = law
    return float(a - b * votes**-c)


def _votes_for(law: Law, now: int) -> float:
    """Votes from now on until the law is a point higher; infinite where it gets there too late."""
    a, b, c = law
    left = a - _at(law, now) - POINT
    if b <= 0 or left <= 0:
        return float("inf")
    more = float((b / left) ** (1 / c)) - now
    return more if more <= MOST_MULTIPLE * now else float("inf")
