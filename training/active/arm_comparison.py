"""The gain of active over random choice at equal votes, measured while a project runs.

Two heads on equally many votes, one of each arm, are scored on pairs of held-out prompts, which
trained neither. A head of 200 votes is luck by three points and more, and a tenth of the votes is
drawn at random: the plain difference of two such heads would need ten thousand votes to show three
points. So it is assisted by a model, the head on all votes. Its posterior draws cast votes on the
pairs that each arm asked about, and on fresh pairs in random order, and the heads fitted to those
tell what the arms' choices are worth without the luck. Real votes then correct that figure: wholly
where they contradict it, else by as much as each of the two is sure. `python -m benchmarks
live_control` measures what it finds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.rlhf import acquire

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_VOTES = 60
"""Of each arm; with fewer a head says next to nothing, and no control is shown."""
COMPARED_AGAIN = 1.1
"""Times the votes after which the arms are compared again: a look costs a second of a core."""
MEASURING_PART = 0.5
"""Of the random arm's votes, about so many go to pairs that teach no head."""
MOST_VOTES = 200
"""Of each arm: more cost time and change the gain little."""
LEAST_HELD_OUT = 50
MOST_HELD_OUT = 1000
"""Pairs of held-out prompts that the heads are scored on."""
DRAWS, SUBSAMPLES = 24, 2
"""Draws of the weights from their posterior, and subsamples of the votes for each."""
MODEL_ERROR = 0.01
"""Standard error of the model's gain beside that of its draws: one point, more than it was wrong by
in any planted world, among them those whose utility is not linear in the features."""
CONTRADICTS = 3.0
"""Standard errors between the gain of real votes and of the model, where the model is dropped."""
Z = 2.8
"""Half an interval in standard errors, for whoever looks again and again: at 1.96 every third run
with equal arms was called a gain or a loss at one of 24 looks, at this one in fifty."""
LEAST_PROMPTS = 30
"""Held-out prompts with votes below which these alone overrule nothing."""
LEAST_DOUBLING, MOST_WORTH = 0.01, 5.0
STEPS = 5
"""Of Newton's method, from no opinion at all; further ones turn no sign."""


@dataclass(frozen=True)
class Arms:
    """Votes of the two arms on pairs of training prompts, and the pairs that measure."""

    x: Floats
    """(v, d) features of each vote's pair."""
    value: Floats
    """(v,) 1 for A, 0 for B, 0.5 for a tie."""
    weight: Floats
    """(v,) by strength and by the share that is no guess."""
    active: Bools
    random: Bools
    """(v,) which arm leased the pair; False in both for votes of neither."""
    order: Floats
    """(p, d) pairs that random order draws from, with votes and without."""
    held_out: Floats
    """(t, d) pairs of held-out prompts, with votes and without."""
    held_votes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    held_value: Floats = field(default_factory=lambda: np.zeros(0))
    held_prompt: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(h,) votes on them: rows in `held_out`, values, and prompts."""
    pair: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(v,) the pair of each vote, by any number; empty where no two votes are on the same pair."""

    def repeats(self) -> NDArray[np.int64]:
        """Votes of the random arm on each of its pairs."""
        if not len(self.pair):
            return np.ones(1, dtype=np.int64)
        return np.unique(self.pair[self.random], return_counts=True)[1]


@dataclass(frozen=True)
class Comparison:
    """Gain of active choice in accuracy on held-out pairs at equal votes, and its interval."""

    votes: int
    """Of each arm."""
    pairs: int
    """Of held-out prompts."""
    gain: float
    low: float
    high: float
    active: float
    random: float
    """Accuracies of heads on real votes of each arm."""
    contradicted: bool
    """True where real votes contradict the model, and the gain is theirs alone."""
    doubling: float
    """Gain of random order from twice as many votes, by the model."""

    def worth(self) -> tuple[float, float, float] | None:
        """Random votes that one active vote is worth, and the ends of its interval; None where more
        votes gain so little that nobody can say. Accuracy grows with the logarithm of the votes."""
        if self.doubling < LEAST_DOUBLING:
            return None
        value, low, high = (
            min(max(2 ** (gain / self.doubling), 1 / MOST_WORTH), MOST_WORTH)
            for gain in (self.gain, self.low, self.high)
        )
        return value, low, high


def lacking(arms: Arms) -> str:
    """The thing that a comparison lacks, as a clause; empty where it can be made."""
    if len(arms.held_out) < LEAST_HELD_OUT:
        return f"the features of {LEAST_HELD_OUT} pairs of held-out prompts, which a round writes"
    for name, of in (("random", arms.random), ("active", arms.active)):
        if (short := LEAST_VOTES - int(of.sum())) > 0:
            return f"{short} more votes of the {name} arm"
    return ""


def compare(arms: Arms, head: acquire.Head, *, informed: float, seed: int) -> Comparison | None:
    """Compare the arms; None where `lacking` says why not.

    Args:
        head: on all votes of training prompts.
        informed: share of answers that are no guesses.
    """
    if lacking(arms):
        return None
    rng = np.random.default_rng([seed, 17])
    one, other = np.flatnonzero(arms.active), np.flatnonzero(arms.random)
    n = min(len(one), len(other), MOST_VOTES)
    held = arms.held_out[rng.permutation(len(arms.held_out))[:MOST_HELD_OUT]]
    precision = acquire.prior_precision(arms.order)
    told = _by_model(arms, head, held, n=n, precision=precision, informed=informed, rng=rng)
    scores, right = _by_votes(arms, head, held, n=n, precision=precision, rng=rng)
    real = float(scores[:, 0].mean() - scores[:, 1].mean())
    # Subsamples of few votes are nearly the same votes: their mean is no surer than their share.
    of_one, of_other = (max(1 / len(scores), n / len(rows)) for rows in (one, other))
    luck = told.luck**2 * (of_one + of_other)
    error = math.sqrt(luck + told.error**2)
    part = error**2 / (error**2 + told.error**2)
    gain, spread = part * told.gain + (1 - part) * real, Z * math.sqrt(part) * told.error
    # Neither of these two knows the model: the votes of held-out prompts do not even share it.
    plain = [(real, error), *_on_votes(right, arms.held_prompt, luck)]
    gain, spread, contradicted = _overruled(plain, told, (gain, spread))
    active, at_random = scores.mean(axis=0).tolist()
    ends = (gain - spread, gain + spread)
    return Comparison(n, len(held), gain, *ends, active, at_random, contradicted, told.doubling)


def _overruled(
    plain: list[tuple[float, float]], told: _Model, assisted: tuple[float, float]
) -> tuple[float, float, bool]:
    """Gain and half its interval, and True where it is that of real votes which contradict the
    model. The last of the plain gains is the plainest."""
    for gain, error in reversed(plain):
        if abs(gain - told.gain) > CONTRADICTS * math.hypot(error, told.error):
            return gain, Z * error, True
    return *assisted, False


def _on_votes(right: Floats, prompt: NDArray[np.int64], luck: float) -> list[tuple[float, float]]:
    """The gain in votes told right, (h, 2), and its standard error by prompt; none of few votes."""
    names, places = np.unique(prompt, return_inverse=True)
    if len(names) < LEAST_PROMPTS:
        return []
    difference = right[:, 0] - right[:, 1]
    gain = float(difference.mean())
    pull = np.bincount(places, weights=difference - gain)
    error = float((pull**2).sum()) * len(names) / (len(names) - 1) / len(right) ** 2
    return [(gain, math.sqrt(error + luck))]


@dataclass(frozen=True)
class _Model:
    gain: float
    error: float
    luck: float
    """Standard deviation of the accuracy of one head of so many votes."""
    doubling: float


def _by_model(
    arms: Arms,
    head: acquire.Head,
    held: Floats,
    *,
    n: int,
    precision: float,
    informed: float,
    rng: np.random.Generator,
) -> _Model:
    """The gain where the head on all votes is right about them, up to what it knows of itself."""
    root = np.linalg.cholesky(head.covariance)
    weights = head.mean + rng.normal(size=(DRAWS, len(root))) @ root.T
    wanted = held @ weights.T > 0

    def accuracy(pool: Floats, rows: list[NDArray[np.int64]]) -> Floats:
        """Of the heads that votes on these pairs would fit, one for each draw, (draws,)."""
        draws = len(rows)
        x, w = pool[np.array(rows)], weights[:draws]
        p = informed * acquire.sigmoid((x @ w[..., None])[..., 0]) + (1 - informed) / 2
        y = (rng.random(p.shape) < p).astype(np.float64)
        told = held @ modes(x, y, np.ones(y.shape), precision).T > 0
        out: Floats = (told == wanted[:, :draws]).mean(axis=0)
        return out

    asked = arms.x[arms.active]

    def of_active() -> list[NDArray[np.int64]]:
        return [rng.choice(len(asked), n, replace=False) for _ in range(DRAWS)]

    def at_random(votes: int, draws: int = DRAWS) -> list[NDArray[np.int64]]:
        return [_in_random_order(arms, votes, rng) for _ in range(draws)]

    score = np.array(
        [
            [accuracy(asked, of_active()), accuracy(arms.order, at_random(n))]
            for _ in range(SUBSAMPLES)
        ]
    )
    gains = (score[:, 0] - score[:, 1]).mean(axis=0)
    variance = float(gains.var(ddof=1)) / DRAWS + MODEL_ERROR**2
    luck = math.sqrt(float(score.var(axis=0, ddof=1).mean()))
    twice = accuracy(arms.order, at_random(2 * n, DRAWS // 3))
    doubling = float(twice.mean() - score[:, 1].mean())
    return _Model(float(gains.mean()), math.sqrt(variance), luck, doubling)


def _in_random_order(arms: Arms, votes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pairs of so many votes in random order, rows of `order`, (votes,).

    Where several people vote on each pair they stand here as often as in the random arm, or its
    votes would be on more pairs than those of the active arm, and teach more for that alone. As of
    the active arm, they are drawn from as many votes as the arm has.
    """
    repeats = arms.repeats()
    if (repeats == 1).all():
        return rng.choice(len(arms.order), votes, replace=len(arms.order) < votes)
    whole = max(votes, int(arms.random.sum()))
    repeats = rng.choice(repeats, whole)
    pairs = int(np.searchsorted(np.cumsum(repeats), whole)) + 1
    order = rng.choice(len(arms.order), pairs, replace=len(arms.order) < pairs)
    of_votes = np.repeat(order, repeats[:pairs])[:whole]
    return rng.choice(of_votes, votes, replace=False)


def _by_votes(
    arms: Arms,
    head: acquire.Head,
    held: Floats,
    *,
    n: int,
    precision: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Accuracy of heads on real votes of the active and of the random arm, (subsamples, 2), and
    the share of them that tell each vote on held-out prompts right, (h, 2).

    By the preferences that all other votes tell: the head on all moves away from a subsample by one
    Newton step, so that nothing is scored by what it learned from.
    """
    one, other = np.flatnonzero(arms.active), np.flatnonzero(arms.random)
    score = np.zeros((2 * SUBSAMPLES, 2))
    right = np.zeros((len(arms.held_votes), 2))
    asked, value = arms.held_out[arms.held_votes], arms.held_value
    for subsample in range(len(score)):
        parts = [rng.permutation(rows)[:n] for rows in (one, other)]
        both = np.concatenate(parts)
        others = head.without(arms.x[both], arms.value[both], arms.weight[both])
        surely = _surely(held, others)
        for arm, rows in enumerate(parts):
            some = rows[None]
            (w,) = modes(arms.x[some], arms.value[some], arms.weight[some], precision)
            score[subsample, arm] = np.where(held @ w > 0, surely, 1 - surely).mean()
            right[:, arm] += np.where(asked @ w > 0, value, 1 - value) / len(score)
    return score, right


def _surely(x: Floats, head: acquire.Head) -> Floats:
    """Probability that the logit of each pair is above zero, (n,)."""
    mean, variance = head.logit(x)
    return np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in mean / np.sqrt(variance)])


def modes(x: Floats, y: Floats, mass: Floats, precision: float) -> Floats:
    """Weights of `acquire.fit` for several sets of votes at once, without their covariances.

    By Newton's method, in the smaller of features and votes; in the space of the votes by algorithm
    3.1 of Rasmussen and Williams (2006, Gaussian Processes for Machine Learning) with the kernel
    x x' / precision.

    Args:
        x: (b, n, d) features; y, mass: (b, n) values and weights of their votes.
        precision: of the prior, as in `acquire.fit`.

    Returns:
        (b, d).
    """
    turned = np.swapaxes(x, 1, 2)
    if x.shape[1] >= x.shape[2]:
        prior = precision * np.eye(x.shape[2])
        w = np.zeros((len(x), x.shape[2]))
        for _ in range(STEPS):
            p = acquire.sigmoid((x @ w[..., None])[..., 0])
            pull = (turned @ (mass * (y - p))[..., None])[..., 0] - precision * w
            hessian = turned @ (x * (mass * p * (1 - p))[..., None]) + prior
            w = w + np.linalg.solve(hessian, pull[..., None])[..., 0]
        return w
    kernel = x @ turned / precision
    logit, slope = np.zeros(y.shape), np.zeros(y.shape)
    for _ in range(STEPS):
        p = acquire.sigmoid(logit)
        curve = mass * p * (1 - p)
        target = curve * logit + mass * (y - p)
        root = np.sqrt(curve)
        inner = np.eye(x.shape[1]) + root[..., None] * kernel * root[:, None, :]
        pulled = root * (kernel @ target[..., None])[..., 0]
        slope = target - root * np.linalg.solve(inner, pulled[..., None])[..., 0]
        logit = (kernel @ slope[..., None])[..., 0]
    out: Floats = (turned @ slope[..., None])[..., 0] / precision
    return out
