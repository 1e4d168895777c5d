"""Labels that are right, of those that a project calls certain ("Stop when certain").

Pairs differ in how plain their better reply is (half-normal margins, scaled by world). Twelve
people of different ability vote on one pair after the other until its label is as probable as
asked, five at most; in one world three of them guess. Reliabilities are estimated as the product
does, from pairs of the overlap alone, anew after each tenth of the pairs. Beside the shipped
probability stands that of votes which are independent whatever the pair.

Options: `--seeds=8 --pairs=1500`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from annotate.statistics.aggregation import PLACE, preferences
from annotate.statistics.label_certainty import posterior
from benchmarks.result import Result
from benchmarks.trials.active import options

WORLDS = {
    "easy": (3.0, 0),
    "middle": (1.5, 0),
    "middle, 3 of 12 guess": (1.5, 3),
    "hard": (0.8, 0),
}
"""Scale of the margins, and people who guess."""
PEOPLE, LIMIT, OVERLAP, LAPSE = 12, 5, 0.15, 0.01
Cast = Sequence[tuple[str, float | None]]
Posterior = Callable[[Cast, float], tuple[float, float, float]]


def independent(votes: Cast, _ties: float) -> tuple[float, float, float]:
    """P(A), P(tie), P(B) by Bayes' rule where all pairs are alike."""
    chances = [1 / 3] * 3
    for choice, reliability in votes:
        right = min(0.75 if reliability is None else reliability, 0.99)
        for at in range(3):
            chances[at] *= right if at == PLACE[choice] else (1 - right) / 2
    a, tie, b = (chance / sum(chances) for chance in chances)
    return a, tie, b


@dataclass
class Crew:
    """People of one world, and all that they voted: pair, person and class of each vote."""

    scale: float
    guessing: int
    seed: int
    votes: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.ability = np.exp(0.35 * self.rng.normal(size=PEOPLE))
        self.reliability: list[float | None] = [None] * PEOPLE
        self.ties = 1 / 3

    def margin(self) -> float:
        """Log odds of A over B on a new pair, for a person of ability 1."""
        return float(self.rng.normal() * self.scale)

    def vote(self, pair: int, person: int, margin: float) -> str:
        chance = LAPSE + (1 - 2 * LAPSE) / (1 + np.exp(-self.ability[person] * margin))
        choice = "a" if self.rng.random() < (0.5 if person < self.guessing else chance) else "b"
        self.votes.append((pair, person, PLACE[choice]))
        return choice

    def learn(self, overlap: set[int], pairs: int) -> None:
        """Estimate everybody's reliability from the pairs of the overlap."""
        pair, person, choice = np.array(self.votes).T
        tells = np.isin(pair, list(overlap))
        unflipped = np.zeros(len(pair), dtype=bool)
        estimate = preferences(
            pair, person, choice, unflipped, None, tells, items=pairs, workers=PEOPLE
        )
        self.ties = float(estimate.prior[1])
        known = np.bincount(person[tells], minlength=PEOPLE) > 0
        self.reliability = [
            float(r) if there else None
            for r, there in zip(estimate.reliability, known, strict=True)
        ]


def certain(crew: Crew, believe: Posterior, threshold: float, pairs: int) -> tuple[list[bool], int]:
    """True for each label called certain that is right, and the number of votes on all pairs."""
    overlap = set(np.flatnonzero(crew.rng.random(pairs) < OVERLAP).tolist())
    right = []
    for pair in range(pairs):
        margin, cast = crew.margin(), []
        for person in crew.rng.permutation(PEOPLE)[:LIMIT].tolist():
            choice = crew.vote(pair, person, margin)
            cast.append((choice, crew.reliability[person]))
            chosen = [one for one, _ in cast]
            ahead = "a" if chosen.count("a") > chosen.count("b") else "b"
            if chosen.count(ahead) * 2 == len(cast) or (pair in overlap and len(cast) < 2):
                continue
            if believe(cast, crew.ties)[PLACE[ahead]] >= threshold:
                right.append((ahead == "a") == (margin > 0))
                break
        if (pair + 1) % (pairs // 10) == 0:
            crew.learn(overlap, pair + 1)
    return right, len(crew.votes)


def benchmark(arguments: list[str]) -> Result:
    """Run all worlds by both probabilities and print the shares of right labels."""
    told = {"seeds": "8", "pairs": "1500"} | options(arguments)
    seeds, pairs = int(told["seeds"]), int(told["pairs"])
    result = Result()
    for world, (scale, guessing) in WORLDS.items():
        for threshold in (0.9, 0.95):
            for name, believe in (("", posterior), (", if independent", independent)):
                ends = [
                    certain(Crew(scale, guessing, seed), believe, threshold, pairs)
                    for seed in range(seeds)
                ]
                shares = [float(np.mean(right)) for right, _ in ends]
                spread = 1.96 * float(np.std(shares, ddof=1)) / seeds**0.5 if seeds > 1 else 0.0
                key = f"{world}, {threshold}{name}"
                mean = float(np.mean(shares))
                result.figures[f"{key}: right"] = mean
                result.intervals[f"{key}: right"] = (mean - spread, mean + spread)
                called = sum(len(right) for right, _ in ends) / (seeds * pairs)
                result.figures[f"{key}: called certain"] = called
                votes = sum(cast for _, cast in ends) / (seeds * pairs)
                result.figures[f"{key}: votes per pair"] = votes
        print(f"{world} done", flush=True)
    return result
