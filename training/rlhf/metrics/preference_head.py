"""The light head: Bayesian Bradley-Terry regression on frozen feature differences, people included.

P(A is better) = sigmoid(w.x) for a pair with feature difference x = f(A) - f(B). `fit` gives the
Laplace posterior of w; `fit_with_people` estimates at the same time how far each annotator's votes
can be trusted, with the head itself as the second opinion, so that one vote per pair is enough.
Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.rlhf.metrics.arrays import Floats, sigmoid

Whole = NDArray[np.int64]

PRIOR_RIGHT = (4.0, 1.0)
"""Votes before the first, informed and guessed: somebody unknown answers 4 times in 5."""
PRIOR_LEFT = 4.0
"""Guesses before the first on each side of the screen."""
ROUNDS = 8
"""Of expectation and maximisation; more change nothing that can be measured."""
TURNS = 10
"""In each of them for the people, who cost little, with the head as it stands."""


@dataclass(frozen=True)
class Head:
    """Laplace posterior of the weights: mean (d,), covariance (d, d)."""

    mean: Floats
    covariance: Floats

    def logit(self, x: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and variance of the logit of every pair: (n,), (n,)."""
        variance = np.einsum("ij,ij->i", x @ self.covariance, x)
        return x @ self.mean, np.maximum(variance, 1e-9)

    @cached_property
    def information(self) -> Floats:
        """The inverse of the covariance, (d, d)."""
        return inverse(self.covariance)

    def without(self, x: Floats, y: Floats, mass: Floats) -> Head:
        """The posterior without votes that it was fitted to, by one Newton step from it, so that
        nothing is judged by what was learned from itself.

        Args:
            x: (v, d) feature differences of the votes' pairs.
            y: (v,) their values.
            mass: (v,) the weights that they were fitted with.
        """
        p = sigmoid(x @ self.mean)
        # Positive definite still: the prior and the other votes are left in it.
        covariance = inverse(self.information - (x * (mass * p * (1 - p))[:, None]).T @ x)
        return Head(self.mean - covariance @ (x.T @ (mass * (y - p))), covariance)

    def after(self, x: Floats, y: float, mass: float = 1.0) -> Head:
        """The posterior after one more vote of value y on the pair x, (d,), in O(d^2): what a refit
        with this posterior as its prior gives, because one vote moves w along S x alone (Sherman
        and Morrison)."""
        u = self.covariance @ x
        mean, variance = float(x @ self.mean), float(x @ u)
        # The mode of the posterior of this pair's logit lies between these.
        low, high = mean - mass * variance, mean + mass * variance
        for _ in range(HALVINGS):
            logit = (low + high) / 2
            p = float(sigmoid(np.array(logit)))
            if (logit - mean) / variance + mass * (p - y) > 0:
                high = logit
            else:
                low = logit
        gain = mass * p * (1 - p)
        k = gain / (1 + gain * variance)
        return Head(
            mean=self.mean + u * (logit - mean) / variance,
            covariance=self.covariance - k * np.outer(u, u),
        )


HALVINGS = 40
"""Of the interval in which a logit lies."""


@dataclass(frozen=True)
class Votes:
    """Single votes, aligned: rows of pairs, who cast them, what they say."""

    pair: Whole
    """(v,) row of each vote's pair."""
    person: Whole
    """(v,) annotators, numbered from 0."""
    value: Floats
    """(v,) 1 for A, 0 for B, 0.5 for a tie."""
    mass: Floats = field(default_factory=lambda: np.zeros(0))
    """(v,) by strength, as the reward model weighs it; 1 each where empty."""
    left: Floats = field(default_factory=lambda: np.zeros(0))
    """(v,) 1 where A was on the left, 0 where B was, 0.5 where nobody knows; unknown if empty."""

    def __len__(self) -> int:
        return len(self.value)

    @property
    def weight(self) -> Floats:
        return self.mass if len(self.mass) else np.ones(len(self))

    @property
    def on_left(self) -> Floats:
        return self.left if len(self.left) else np.full(len(self), 0.5)


@dataclass(frozen=True)
class People:
    """The head's opinion of each annotator, (a,) each."""

    informed: Floats
    """Share of answers that are no guesses."""
    left: Floats
    """Share of the guesses that go to the left side of the screen."""


@dataclass(frozen=True)
class Prior:
    """Of a head's weights: normal, alike in all directions."""

    precision: float
    mean: Floats
    """(d,)."""


def prior_precision(x: Floats) -> float:
    """E|x|^2 / 4: the logit of a typical pair has a prior standard deviation of 2."""
    lengths = (x * x).sum(axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return max(float(lengths.mean()) / 4, 1e-6) if len(lengths) else 1.0


def fit(
    x: Floats,
    y: Floats,
    *,
    precision: float,
    weights: Floats | None = None,
    start: Floats | None = None,
    around: Floats | None = None,
    steps: int = 32,
) -> Head:
    """Maximum a posteriori weights of logistic regression without intercept, and their covariance.

    Args:
        x: (n, d) feature differences.
        y: (n,) in [0, 1], the share of votes for A; 0.5 is a tie.
        precision: of the prior N(around, 1 / precision).
        weights: (n,) mass of each observation, 1 if None.
        start: (d,) where Newton's method starts.
        around: (d,) the prior's mean, 0 if None.
    """
    prior = Prior(precision, np.zeros(x.shape[1]) if around is None else around)
    mass = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = np.zeros(x.shape[1]) if start is None else np.array(start, dtype=np.float64)
    for _ in range(steps):
        gradient, hessian = _derivatives(x, y, mass, w, prior)
        step: Floats = np.linalg.solve(hessian, gradient).astype(np.float64)
        decrement = float(gradient @ step)
        if decrement < 1e-10:
            break
        w = _backtrack(x, y, mass, w, prior, step=step, decrement=decrement)
    _, hessian = _derivatives(x, y, mass, w, prior)
    return Head(mean=w, covariance=inverse(hessian))


def fit_with_people(
    x: Floats, votes: Votes, *, people: int, precision: float, start: Floats | None = None
) -> tuple[Head, People, Floats]:
    """The head, its annotators, and the share (v,) of each vote that is no guess.

    Expectation and maximisation: a vote is informed with the probability `informed` of its author,
    and then follows sigmoid(w.x), or else a guess, which goes left with the probability `left`.
    The share that is informed is the weight with which the vote teaches w. A tie is half a vote
    for each side.

    Args:
        x: (n, d) feature differences of the pairs.
        people: number of annotators.
        precision: of the prior of w.
    """
    informed = np.full(people, PRIOR_RIGHT[0] / sum(PRIOR_RIGHT))
    left = np.full(people, 0.5)
    mass, rows = votes.weight, x[votes.pair]
    share = np.ones(len(votes))
    head = fit(rows, votes.value, precision=precision, weights=mass, start=start)
    went_left = votes.value * votes.on_left + (1 - votes.value) * (1 - votes.on_left)
    for _ in range(ROUNDS if len(votes) else 0):
        logit = rows @ head.mean
        for _ in range(TURNS):
            share = _informed(logit, votes, informed, left)
            informed = _update(votes.person, share, people, PRIOR_RIGHT)
            prior = (PRIOR_LEFT, PRIOR_LEFT)
            left = _update(votes.person, went_left, people, prior, of=1 - share)
        head = fit(rows, votes.value, precision=precision, weights=mass * share, start=head.mean)
    return head, People(informed, left), share


def _informed(logit: Floats, votes: Votes, informed: Floats, left: Floats) -> Floats:
    """P(the vote is no guess | the vote), (v,)."""
    y, c = votes.value, informed[votes.person]
    said = np.exp(-y * np.logaddexp(0, -logit) - (1 - y) * np.logaddexp(0, logit))
    to_left = left[votes.person]
    to_a = votes.on_left * to_left + (1 - votes.on_left) * (1 - to_left)
    guessed = to_a**y * (1 - to_a) ** (1 - y)
    out: Floats = c * said / (c * said + (1 - c) * guessed)
    return out


def informed_share(logit: float, value: float, informed: float) -> float:
    """P(a vote is no guess | the vote) of one vote of this value, whose author guesses to both
    sides alike and answers informed with this probability."""
    said = float(np.exp(-value * np.logaddexp(0, -logit) - (1 - value) * np.logaddexp(0, logit)))
    return informed * said / (informed * said + (1 - informed) * 0.5)


def _update(
    person: Whole,
    share: Floats,
    people: int,
    prior: Sequence[float],
    *,
    of: Floats | None = None,
) -> Floats:
    """Mean of a share over each person's votes, with a Beta prior; weighted by `of`."""
    weight = np.ones(len(share)) if of is None else of
    total = np.bincount(person, weights=share * weight, minlength=people) + prior[0]
    count = np.bincount(person, weights=weight, minlength=people) + sum(prior)
    out: Floats = total / count
    return out


def inverse(matrix: Floats) -> Floats:
    """The inverse of a positive definite matrix."""
    out: Floats = np.linalg.inv(matrix).astype(np.float64)
    return out


def _derivatives(
    x: Floats, y: Floats, mass: Floats, w: Floats, prior: Prior
) -> tuple[Floats, Floats]:
    p = sigmoid(x @ w)
    gradient = x.T @ (mass * (p - y)) + prior.precision * (w - prior.mean)
    hessian = (x * (mass * p * (1 - p))[:, None]).T @ x + prior.precision * np.eye(x.shape[1])
    return gradient, hessian


def _objective(x: Floats, y: Floats, mass: Floats, w: Floats, prior: Prior) -> float:
    logit, off = x @ w, w - prior.mean
    return float(
        mass @ (np.logaddexp(0.0, logit) - y * logit) + 0.5 * prior.precision * (off @ off)
    )


def _backtrack(
    x: Floats,
    y: Floats,
    mass: Floats,
    w: Floats,
    prior: Prior,
    *,
    step: Floats,
    decrement: float,
) -> Floats:
    """Halve the Newton step until the objective falls enough (Armijo)."""
    before, size = _objective(x, y, mass, w, prior), 1.0
    while size > 1e-8:
        after: Floats = w - size * step
        if _objective(x, y, mass, after, prior) <= before - 1e-4 * size * decrement:
            return after
        size /= 2
    return w


def probability(head: Head, x: Floats) -> Floats:
    """Posterior mean of P(A is better) for every pair: (n,).

    MacKay's probit approximation (1992; Bishop 2006, Pattern Recognition and Machine Learning,
    equations 4.153 and 4.154).
    """
    return mean_probability(*head.logit(x))


def mean_probability(mean: Floats, variance: Floats) -> Floats:
    """The same of logits with these means and variances."""
    return sigmoid(mean / np.sqrt(1 + np.pi * variance / 8))


FOLDS = 5
CERTAIN = 1.645
"""Standard errors above zero: 95 % of chance results lie below."""


def predicts(x: Floats, votes: Votes, *, precision: float, weights: Floats | None = None) -> bool:
    """True when heads fitted to four fifths of the pairs tell the votes on the others better than
    a coin does: mean log-likelihood, errors clustered by pair.

    Args:
        x: (n, d) feature differences of the pairs.
        weights: (v,) of the votes, as `fit_with_people` gives them; by mass if None.
    """
    mass = votes.weight if weights is None else weights
    gained = np.zeros(len(x))
    for fold in range(FOLDS):
        # Neighbours in the order of pairs are often of one prompt: they stay together.
        held = votes.pair * FOLDS // max(len(x), 1) == fold
        if not held.any() or held.all():
            return False
        rows = x[votes.pair]
        head = fit(rows[~held], votes.value[~held], precision=precision, weights=mass[~held])
        p = np.clip(probability(head, rows[held]), 1e-6, 1 - 1e-6)
        y = votes.value[held]
        said = mass[held] * (y * np.log(p) + (1 - y) * np.log(1 - p) + np.log(2))
        gained += np.bincount(votes.pair[held], weights=said, minlength=len(x))
    told = gained[np.bincount(votes.pair, minlength=len(x)) > 0]
    error = float(told.std(ddof=1)) / np.sqrt(len(told)) if len(told) > 1 else np.inf
    return bool(told.mean() > CERTAIN * error)
