"""Random clickers, told with one vote per pair."""

from __future__ import annotations

import numpy as np
import pytest

from training.rlhf.metrics.arrays import Floats, sigmoid
from training.rlhf.metrics.preference_head import Votes, fit_with_people, prior_precision
from training.rlhf.metrics.random_clickers import FEWEST_DECIDED, doubts

D = 12


def crew(
    seed: int, *, people: int = 10, each: int = 60, guess: int = 0, lie: int = 0
) -> tuple[Floats, Votes]:
    """One vote on each pair; the first people guess, the next answer the wrong way round."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    x, w = rng.normal(size=(len(person), D)), rng.normal(size=D) * 2 / np.sqrt(D)
    p = sigmoid(np.exp(0.35 * rng.normal(size=people))[person] * (x @ w))
    p = np.where(person < guess, 0.5, np.where(person < guess + lie, 1 - p, p))
    return x, Votes(np.arange(len(x)), person, (rng.random(len(x)) < p).astype(float))


def doubted(x: Floats, votes: Votes) -> dict[int, float]:
    people, precision = int(votes.person.max()) + 1, prior_precision(x)
    head, _, share = fit_with_people(x, votes, people=people, precision=precision)
    return doubts(x, votes, head, share)


def test_who_guesses_or_answers_the_wrong_way_round_stands_out_and_honest_people_do_not() -> None:
    told = [doubted(*crew(seed, guess=1, lie=1)) for seed in range(12)]
    assert np.mean([chances[0] < 0.01 for chances in told]) >= 0.85
    assert all(chances[1] < 0.01 for chances in told)
    honest = [chance < 0.01 for chances in told for who, chance in chances.items() if who > 1]
    assert np.mean(honest) <= 0.04


def test_sides_that_are_swapped_change_nobodys_chance() -> None:
    x, votes = crew(1, guess=2)
    swapped = Votes(votes.pair, votes.person, 1 - votes.value)
    assert doubted(-x, swapped) == pytest.approx(doubted(x, votes), abs=1e-6)


@pytest.mark.parametrize("short", ["votes", "people", "ties"])
def test_nobody_is_judged_by_too_little(short: str) -> None:
    each = FEWEST_DECIDED - 1 if short == "votes" else 60
    x, votes = crew(3, people=3 if short == "people" else 6, each=each)
    if short == "ties":
        votes = Votes(votes.pair, votes.person, np.full(len(votes), 0.5))
    assert doubted(x, votes) == {}
