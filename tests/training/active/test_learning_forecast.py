from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.active.learning_forecast import (
    AHEAD,
    LEAST_SCORED,
    LEAST_VOTES,
    Evidence,
    forecast,
    lacking,
    power_law,
)

D = 10


def evidence(votes: int, *, strength: float = 2.0, seed: int = 0) -> Evidence:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=D) / np.sqrt(D)
    x, held = rng.normal(size=(votes, D)), rng.normal(size=(80, D))

    def say(of: np.ndarray) -> np.ndarray:
        return (rng.random(len(of)) < 1 / (1 + np.exp(-strength * of @ w))).astype(float)

    return Evidence(
        x, say(x), np.ones(votes), np.arange(votes) // 2, rng.random(votes) < 0.4,
        held, say(held), votes + np.arange(80),
    )  # fmt: skip


def test_the_law_is_recovered_from_its_own_points() -> None:
    votes = np.array([50.0, 120, 300, 700, 1600])
    a, b, c = power_law(votes, 0.86 - 2.4 * votes**-0.55)
    assert (a, b, c) == pytest.approx((0.86, 2.4, 0.55), abs=1e-6)
    level = power_law(votes, np.full(5, 0.7))
    assert level[:2] == pytest.approx((0.7, 0.0), abs=1e-9)


def test_the_curve_rises_and_more_votes_bring_less_the_more_there_are() -> None:
    few, many = (forecast(evidence(n), precision=D / 4, seed=1) for n in (250, 4000))
    assert few is not None and many is not None
    assert few.votes[-1] < 250 and many.accuracy[-1] > many.accuracy[0]
    assert all(low <= value <= high for low, value, high in zip(
        many.low, many.accuracy, many.high, strict=True))  # fmt: skip
    assert few.gain > many.gain >= 0 and many.gain_low <= many.gain_high
    assert many.stop and many.gain_high < 0.01, f"{AHEAD} more votes teach nothing new"
    assert few.point is None or few.point > 0


def test_coins_have_no_law_that_promises_a_point() -> None:
    told = forecast(evidence(600, strength=0.0), precision=D / 4, seed=1)
    assert told is not None and told.accuracy[-1] == pytest.approx(0.5, abs=0.1)


def test_ties_are_half_right_and_break_nothing() -> None:
    of = evidence(300)
    told = forecast(replace(of, value=np.full(300, 0.5), held_value=np.full(80, 0.5)),
                    precision=D / 4, seed=1)  # fmt: skip
    assert told is not None and set(told.accuracy) == {0.5} and told.stop


def test_a_forecast_says_what_it_lacks() -> None:
    of = evidence(LEAST_VOTES - 3)
    assert lacking(of) == "3 more votes" and forecast(of, precision=1.0, seed=1) is None
    nobody = replace(evidence(300), random=np.zeros(300, dtype=bool))
    nobody = replace(nobody, held_value=nobody.held_value[: LEAST_SCORED - 9])
    assert lacking(nobody) == "9 more votes of the random arm"
