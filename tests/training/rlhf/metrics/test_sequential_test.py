from __future__ import annotations

import numpy as np
import pytest

from training.rlhf.metrics import sequential_test
from training.rlhf.metrics.sequential_test import NEEDED, verdict


def ever(rate: float, *, ties: float, looks: int, runs: int, seed: int) -> dict[str, float]:
    """Shares of simulated policies that are ever called better, or worse, looked at after each
    comparison; two comparisons share the error."""
    rng = np.random.default_rng(seed)
    draws = rng.random((runs, looks))
    points = np.where(rng.random((runs, looks)) < ties, 0.5, draws < rate)
    called = {"better": 0, "worse": 0}
    for side, observed in (("better", points), ("worse", 1 - points)):
        gains = [np.cumsum(np.log1p(s * (2 * observed - 1)), axis=1) for s in STAKES]
        wealth = np.logaddexp.reduce(gains) - np.log(len(STAKES))
        called[side] = int((wealth >= np.log(2 / sequential_test.ERROR)).any(axis=1).sum())
    return {side: n / runs for side, n in called.items()}


STAKES = sequential_test.STAKES


@pytest.mark.parametrize("ties", [0.0, 0.3])
def test_a_true_half_is_called_worse_in_one_comparison_of_eighty_however_often_one_looks(
    ties: float,
) -> None:
    called = ever(0.5, ties=ties, looks=400, runs=2000, seed=1)
    # Two such comparisons share the 2.5 %; 2,000 runs tell a share to half a point.
    assert called["worse"] <= 0.0125 + 0.005 and called["better"] <= 0.0125 + 0.005


def test_a_look_after_each_comparison_says_what_the_wealth_says() -> None:
    rng = np.random.default_rng(2)
    points = (rng.random(60) < 0.78).astype(float)
    gains = [np.cumsum(np.log1p(s * (2 * points - 1))) for s in STAKES]
    wealth = np.logaddexp.reduce(gains) - np.log(len(STAKES))
    for n in (5, 20, 40, 60):
        better = wealth[n - 1] > np.log(2 / sequential_test.ERROR)
        assert (verdict(list(points[:n]), comparisons=2).outcome == "better") == better


def test_the_numbers_of_votes_that_pages_promise_are_those_of_this_test() -> None:
    for rate, promised in NEEDED.items():
        for comparisons, n in enumerate(promised, start=1):
            simulated = sequential_test.needed(rate, comparisons=comparisons, runs=400, most=900)
            assert simulated == pytest.approx(n, rel=0.12)


def test_what_is_certain_is_decided_soon_and_what_is_even_never() -> None:
    assert verdict([1.0] * 12, comparisons=2).outcome == "better"
    assert verdict([0.0] * 12, comparisons=2).outcome == "worse"
    assert verdict([0.0, 1.0] * 500, comparisons=2).outcome == "undecided"
    even = verdict([0.5] * 500)
    assert even.outcome == "undecided" and even.low < 0.5 < even.high


def test_sides_and_order_change_nothing() -> None:
    points = [1.0, 0.5, 1.0, 0.0, 1.0, 2 / 3]
    there, back = verdict(points), verdict([1 - one for one in reversed(points)])
    assert there.low == pytest.approx(1 - back.high) and there.rate == pytest.approx(1 - back.rate)


def test_nothing_is_said_without_comparisons() -> None:
    nothing = verdict([])
    assert (nothing.outcome, nothing.n, nothing.low, nothing.high) == ("undecided", 0, 0.0, 1.0)
