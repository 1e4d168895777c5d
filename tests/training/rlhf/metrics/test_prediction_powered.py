from __future__ import annotations

import numpy as np
import pytest

from training.rlhf.metrics.arrays import Floats
from training.rlhf.metrics.prediction_powered import AssistedRate, assisted_rate


def opinions(
    rng: np.random.Generator, n: int, *, correlation: float, truth: float, bias: float
) -> tuple[Floats, Floats]:
    """People's points with this mean, and a judge's, which go together so far and are too high."""
    people = (rng.random(n) < truth).astype(float)
    noise = rng.normal(size=n)
    own = (people - truth) / np.sqrt(truth * (1 - truth))
    judge = 0.5 + bias + 0.3 * (correlation * own + np.sqrt(1 - correlation**2) * noise)
    return people, judge


def simulated(
    runs: int, *, correlation: float, truth: float = 0.6, bias: float = 0.0, n: int = 50
) -> tuple[list[AssistedRate], list[AssistedRate]]:
    """With the judge's help, and without, on the same votes."""
    rng = np.random.default_rng(11)
    helped, alone = [], []
    for _ in range(runs):
        seen = {"correlation": correlation, "truth": truth, "bias": bias}
        people, judge = opinions(rng, n, **seen)
        _, elsewhere = opinions(rng, 400, **seen)
        helped.append(assisted_rate(people, judge, elsewhere))
        alone.append(assisted_rate(people, judge, np.zeros(0)))
    return helped, alone


def mean_error(rates: list[AssistedRate]) -> float:
    return float(np.mean([one.error for one in rates]))


def test_a_judge_that_goes_with_people_makes_the_interval_a_fifth_narrower() -> None:
    helped, alone = simulated(300, correlation=0.65)
    assert mean_error(helped) <= 0.82 * mean_error(alone)


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.2])
def test_a_judge_that_knows_nothing_costs_next_to_nothing(correlation: float) -> None:
    helped, alone = simulated(200, correlation=correlation)
    assert mean_error(helped) <= 1.05 * mean_error(alone)


@pytest.mark.parametrize("bias", [0.0, 0.35])
def test_the_interval_covers_the_truth_whatever_the_judge_likes(bias: float) -> None:
    """1,000 runs tell a share to 0.7 points; a judge that loves flattery is biased for the new."""
    helped, _ = simulated(1000, correlation=0.65, bias=bias)
    covered = np.mean([one.low <= 0.6 <= one.high for one in helped])
    assert 0.93 <= covered <= 0.97
    assert np.mean([one.rate for one in helped]) == pytest.approx(0.6, abs=0.01)


def test_few_comparisons_are_no_rate_and_without_further_prompts_people_speak_alone() -> None:
    with pytest.raises(ValueError, match="at least 20"):
        assisted_rate(np.ones(5), np.ones(5), np.ones(400))
    votes = np.array([1.0, 0.0, 0.5, 1.0] * 10)
    alone = assisted_rate(votes, votes, np.zeros(0))
    assert (alone.rate, alone.weight) == (pytest.approx(votes.mean()), 0.0)
