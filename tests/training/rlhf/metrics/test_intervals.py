from __future__ import annotations

import numpy as np
import pytest

from training.rlhf.metrics import intervals

NORMAL = np.random.default_rng(0).normal(2.0, 3.0, size=(400, 1))


def means(statistics: np.ndarray, *, draws: int, seed: int) -> np.ndarray:
    return intervals.resampled(statistics, draws=draws, seed=seed)[:, 0] / len(statistics)


def test_the_interval_of_a_mean_is_that_of_the_normal_theory() -> None:
    values = means(NORMAL, draws=4000, seed=1)
    low, high = intervals.percentiles(values)
    half = 1.96 * NORMAL.std(ddof=1) / np.sqrt(len(NORMAL))
    assert low == pytest.approx(NORMAL.mean() - half, abs=0.05)
    assert high == pytest.approx(NORMAL.mean() + half, abs=0.05)


def test_models_are_resampled_alike_so_that_their_difference_is_paired() -> None:
    """A constant gain over the same prompts has no uncertainty, however the prompts differ."""
    gain = means(NORMAL + 0.5, draws=200, seed=1)
    base = means(NORMAL, draws=200, seed=1)
    assert gain - base == pytest.approx(np.full(200, 0.5))
    other = means(NORMAL, draws=200, seed=2)
    assert not np.allclose(base, other)


def test_every_resample_holds_as_many_rows_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = np.ones((7, 1))
    monkeypatch.setattr(intervals, "AT_ONCE", 70)  # ten draws at a time
    sums = intervals.resampled(np.hstack([ones, NORMAL[:7]]), draws=25, seed=0)
    assert sums.shape == (25, 2)
    assert (sums[:, 0] == 7).all()
    assert len(set(sums[:, 1])) > 20


def test_wilsons_interval_equals_the_published_example_and_stays_within_zero_and_one() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    assert intervals.wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert intervals.wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert intervals.wilson(15 / 20, 20) == pytest.approx((0.5313, 0.8881), abs=1e-3)
    assert intervals.wilson(0.0, 3)[0] == 0.0 and intervals.wilson(1.0, 3)[1] == 1.0


def test_a_share_without_observations_has_no_interval() -> None:
    assert np.isnan(intervals.wilson(0.5, 0)).all()


@pytest.mark.parametrize("per_prompt", [1, 4])
def test_the_interval_of_a_share_knows_that_pairs_of_one_prompt_go_together(
    per_prompt: int,
) -> None:
    """With a truth of its own for every prompt; alone, the pairs would cover far less."""
    rng = np.random.default_rng(5)
    names = [str(i // per_prompt) for i in range(60 * per_prompt)]
    covered, narrow = [], []
    for _ in range(400):
        truth = np.repeat(rng.beta(1.4, 0.6, size=60), per_prompt)
        right = (rng.random(len(truth)) < truth).astype(float)
        low, high = intervals.clustered_share(right.tolist(), names)
        covered.append(low <= 0.7 <= high)
        low, high = intervals.wilson(float(right.mean()), len(right))
        narrow.append(low <= 0.7 <= high)
    assert 0.92 <= np.mean(covered) <= 0.98
    assert per_prompt == 1 or np.mean(narrow) < 0.9


def test_a_share_of_nothing_has_no_interval_and_one_of_all_is_not_certain() -> None:
    assert all(np.isnan(intervals.clustered_share([], [])))
    low, high = intervals.clustered_share([1.0] * 20, [str(i) for i in range(20)])
    assert 0.8 < low < 0.9 and high == 1.0
