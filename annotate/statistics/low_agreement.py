"""Doubts: people who agree with the rest less than an honest person would.

Pairs are hard for everybody, so nobody is held against a fixed share. Each vote is compared with
the other first vote of its pair, and what counts is how often the *rest* gives each other's
answer where one of them was as sure as that other was. Where people are sure they agree, so a
disagreement there says more; the weights are the likelihood ratio between the rest and a coin.

The tail is exact, of beta-binomial counts, since honest people differ among themselves. Whoever
stands out most is taken out before the others are judged: else a liar's disagreements would count
against everybody who met them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from annotate.models.assignment import MAX_STRENGTH

DOUBTFUL = 0.02
"""An honest person is doubted this often, however many people there are."""
ALIKE = 60.0
"""Honest people's own rates spread around the rest's like shares of so many trials: in the
middle a standard deviation of six points."""
FEWEST = 15
"""Comparisons before a person is judged, and twice as many of the rest to judge by."""
BY_CHANCE = (1 / 3, *[0.5] * MAX_STRENGTH)
"""The share in which a coin gives the other's answer: a tie, or one of the sides, by strength."""
STEP = 0.25
MOST = 120
"""Counts beyond this are scaled down: by then people's own rates decide, not luck."""


@dataclass(frozen=True)
class Meetings:
    """Counts of a person giving another's answer, on pairs on which theirs are the first votes.

    `sure` is the strength of the other's vote, 0 for a tie.
    """

    annotator: int
    other: int
    sure: int
    n: int
    same: int


def doubts(met: Sequence[Meetings]) -> dict[int, float]:
    """Person -> how probable so little agreement, or less, is for an honest one.

    People with too few comparisons, or too few others to compare with, are left out.
    """
    table = np.array([(m.annotator, m.other, m.sure, m.n, m.same) for m in met], dtype=np.int64)
    table = table.reshape(-1, 5)
    people = len(np.unique(table[:, 0]))
    taken_out: dict[int, float] = {}
    while True:
        probability = _judge(table)
        worst = min(probability, key=lambda who: probability[who], default=None)
        # The rest has to stay the larger part: a minority cannot say who is wrong.
        if worst is None or probability[worst] >= DOUBTFUL or 2 * (len(taken_out) + 1) >= people:
            return probability | taken_out
        taken_out[worst] = probability[worst]
        table = table[(table[:, 0] != worst) & (table[:, 1] != worst)]


def _judge(table: NDArray[np.int64]) -> dict[int, float]:
    probability = {}
    for who in np.unique(table[:, 0]).tolist():
        own = table[:, 0] == who
        rest = ~own & (table[:, 1] != who)
        n, same = _by_sureness(table[own])
        others_n, others_same = _by_sureness(table[rest])
        if n.sum() >= FEWEST and others_n.sum() >= 4 * FEWEST:
            pooled = others_same.sum() / others_n.sum()
            # A few comparisons' worth of the pooled rate where a kind of pair is rare.
            rates = (others_same + 4 * pooled) / (others_n + 4)
            probability[who] = _tail(n, same, rates)
    return probability


def _by_sureness(table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sure = np.clip(table[:, 2], 0, MAX_STRENGTH)
    n, same = (
        np.bincount(sure, weights=table[:, column], minlength=len(BY_CHANCE)) for column in (3, 4)
    )
    return n.astype(np.int64), same.astype(np.int64)


def _tail(n: NDArray[np.int64], same: NDArray[np.int64], rates: NDArray[np.float64]) -> float:
    """P(score <= the one seen) for somebody whose rates are drawn around the rest's."""
    chance = np.array(BY_CHANCE)
    rates = np.clip(rates, 0.02, 0.98)
    odds = np.log(rates / (1 - rates)) - np.log(chance / (1 - chance))
    weights = np.maximum(np.rint(odds / STEP), 0).astype(int)
    if not weights.any():
        weights = np.ones(len(BY_CHANCE), dtype=int)
    scale = min(1.0, MOST / max(int(n.max()), 1))
    n, same = (np.rint(counts * scale).astype(np.int64) for counts in (n, same))
    law = np.ones(1)
    for trials, rate, weight in zip(n.tolist(), rates.tolist(), weights.tolist(), strict=True):
        spaced = np.zeros(trials * weight + 1)
        np.add.at(spaced, np.arange(trials + 1) * weight, beta_binomial(trials, rate))
        law = np.convolve(law, spaced)
    return float(min(1.0, law[: int(same @ weights) + 1].sum()))


def beta_binomial(n: int, mean: float, alike: float = ALIKE) -> NDArray[np.float64]:
    """Probabilities of 0 to n hits at a rate drawn around `mean`."""
    a, b = mean * alike, (1 - mean) * alike
    logs = [
        lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
        + lgamma(k + a) + lgamma(n - k + b) - lgamma(n + a + b)
        + lgamma(a + b) - lgamma(a) - lgamma(b)
        for k in range(n + 1)
    ]  # fmt: skip
    return np.exp(np.array(logs, dtype=np.float64))
