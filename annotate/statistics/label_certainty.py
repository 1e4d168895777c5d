"""The probability that the label of one pair is right, where pairs differ in how plain they are.

Votes on one pair are no independent evidence of it: on a pair whose replies are nearly equally
good everybody errs more often, so that two equal votes say less than two reliabilities multiplied.
As in GLAD a vote is right by the ability of its author times the easiness of the pair (Whitehill,
Ruvolo, Wu, Bergsma and Movellan, "Whose Vote Should Count More", 2009, section 3). Unlike there
easiness is no estimate, for which a pair has too few votes: it is integrated out over a half-normal
distribution, that of a difference between two replies that is normal.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from annotate.statistics.aggregation import PLACE

Floats = NDArray[np.float64]

GUESS = 0.75
"""Reliability of somebody about whom nothing is known yet."""
MOST = 0.99
"""Reliability that is believed at most: few votes can show more."""
FEWEST = 0.01
"""Share of ties at least: a class that nobody chose yet is none that nobody can choose."""
CELLS = 200
EASE: Floats = np.array(
    [NormalDist().inv_cdf(0.5 + (cell + 0.5) / CELLS / 2) for cell in range(CELLS)]
)
"""Easiness of pairs, in the middle of equally common cells."""
_ABILITIES: Floats = np.geomspace(0.01, 200.0, 1000)


def posterior(votes: Iterable[tuple[str, float | None]], ties: float) -> tuple[float, float, float]:
    """P(A), P(tie), P(B) after votes of (choice, reliability of who cast it), in any order.

    A reliability is the chance of a right answer, from 0 to 1; None counts as `GUESS`, and one
    below chance as chance: such votes tell nothing. `ties` is the share of pairs of which neither
    side is better; which of the others is called A was drawn by lot.
    """
    # Rounded, so that few tables are made and kept.
    ties = round(min(max(ties, FEWEST), 1 - FEWEST), 2)
    scores = np.log(np.array([(1 - ties) / 2, ties, (1 - ties) / 2]))[:, None]
    for choice, reliability in votes:
        known = GUESS if reliability is None else reliability
        scores = scores + _evidence(round(min(max(known, 0.0), MOST), 3), ties)[:, PLACE[choice]]
    weights = np.exp(scores - scores.max()).sum(axis=1) * np.ones(3)
    a, tie, b = (weights / weights.sum()).tolist()
    return a, tie, b


@lru_cache(maxsize=1024)
def _evidence(reliability: float, ties: float) -> Floats:
    """Log P(vote | right class) (right class, vote, easiness), classes in the order A, tie, B.

    Reliabilities are estimated from how often people agree as if all pairs were alike. The ability
    is therefore that of two people who agree as often as two of this reliability would there, and
    not the one that is right as often: pairs that differ make agreement look like reliability.
    """
    # Of wrong votes on a pair with a better side, those for a tie: as ties beside the other side.
    to_tie = 2 * ties / (1 + ties)
    same_error = to_tie**2 + (1 - to_tie) ** 2
    agreements = _agreement(_right(_ABILITIES, ties), same_error).mean(axis=1)
    wanted = float(_agreement(np.array(reliability), same_error))
    least = 1 / _classes(ties)
    ability = np.interp(wanted, agreements, _ABILITIES) if reliability > least else 0.0
    right = _right(np.array([ability]), ties)[0]
    wrong = 1 - right
    chances = np.array(
        [
            [right, wrong * to_tie, wrong * (1 - to_tie)],
            [wrong / 2, right, wrong / 2],
            [wrong * (1 - to_tie), wrong * to_tie, right],
        ]
    )
    return np.asarray(np.log(chances + 1e-300), dtype=np.float64)


def _classes(ties: float) -> float:
    """Number of equally common classes of which two draws agree as often as two of these."""
    return 1 / (ties**2 + (1 - ties) ** 2 / 2)


def _right(ability: Floats, ties: float) -> Floats:
    """Chances of a right vote (abilities, easiness): a guess where a pair tells nothing."""
    against = (_classes(ties) - 1) * np.exp(-np.multiply.outer(ability, EASE))
    return np.asarray(1 / (1 + against), dtype=np.float64)


def _agreement(right: Floats, same_error: float) -> Floats:
    """Chance that two votes which are right with `right` give the same answer; `same_error` is the
    chance that two wrong ones do."""
    return np.asarray(right**2 + (1 - right) ** 2 * same_error, dtype=np.float64)
