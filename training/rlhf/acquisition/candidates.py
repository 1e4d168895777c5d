"""The pairs that an acquisition scores, and the batch that it picks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.preference_head import Head, mean_probability

MIN_INFORMATION = 1e-4
TINY = float(np.finfo(np.float64).tiny)


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


def information(head: Head, x: Floats) -> Floats:
    """Expected Fisher information p(1-p) of one vote on each pair, under the posterior: (n,)."""
    return information_at(*head.logit(x))


def information_at(mean: Floats, variance: Floats) -> Floats:
    p = mean_probability(mean, variance)
    out: Floats = np.maximum(p * (1 - p), MIN_INFORMATION)
    return out


class Batch:
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
