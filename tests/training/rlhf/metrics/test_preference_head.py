"""The light head with the people who taught it."""

from __future__ import annotations

import numpy as np
import pytest

from training.rlhf.metrics.arrays import Floats, sigmoid
from training.rlhf.metrics.preference_head import (
    Head,
    Votes,
    fit,
    fit_with_people,
    predicts,
    prior_precision,
)


def crowd(
    n: int, informed: list[float], *, left: float = 0.5, seed: int = 0, d: int = 8
) -> tuple[Floats, Votes, Floats]:
    """One vote on each of n pairs by people of whom each answers so often and guesses else; the
    guesses go left so often."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(n, d)), rng.normal(size=d) * 2 / np.sqrt(d) * 2
    person = rng.integers(len(informed), size=n)
    on_left = (rng.random(n) < 0.5).astype(float)
    answered = rng.random(n) < sigmoid(x @ w)
    went_left = rng.random(n) < left
    guessed = np.where(on_left > 0, went_left, ~went_left)
    value = np.where(rng.random(n) < np.array(informed)[person], answered, guessed).astype(float)
    return x, Votes(np.arange(n), person, value, left=on_left), w


def test_one_more_vote_is_what_a_refit_gives() -> None:
    rng = np.random.default_rng(0)
    x, precision = rng.normal(size=3), 0.7
    before = Head(np.zeros(3), np.eye(3) / precision)
    refitted = fit(x[None], np.array([1.0]), precision=precision, weights=np.array([1.5]))
    after = before.after(x, 1.0, mass=1.5)
    np.testing.assert_allclose(after.mean, refitted.mean, atol=1e-6)
    np.testing.assert_allclose(after.covariance, refitted.covariance, atol=1e-6)


def test_ten_votes_one_by_one_stay_near_the_refit() -> None:
    x, votes, _ = crowd(300, [1.0], seed=1)
    head = fit(x[:290], votes.value[:290], precision=1.0)
    for row in range(290, 300):
        head = head.after(x[row], float(votes.value[row]))
    whole = fit(x, votes.value, precision=1.0)
    np.testing.assert_allclose(head.mean, whole.mean, atol=0.02)
    np.testing.assert_allclose(head.covariance, whole.covariance, atol=0.005)


def test_planted_reliabilities_come_back_from_one_vote_a_pair() -> None:
    planted = [0.95, 0.95, 0.9, 0.7, 0.5, 0.1, 0.0]
    x, votes, _ = crowd(4000, planted, seed=2)
    _, people, _ = fit_with_people(x, votes, people=7, precision=prior_precision(x))
    np.testing.assert_allclose(people.informed, planted, atol=0.16)
    assert np.corrcoef(people.informed, planted)[0, 1] > 0.98


def test_a_person_who_clicks_left_is_told_from_one_who_guesses() -> None:
    x, votes, _ = crowd(1500, [1.0, 1.0, 1.0, 0.0], left=0.97, seed=3)
    _, people, _ = fit_with_people(x, votes, people=4, precision=prior_precision(x))
    assert people.left[3] > 0.85 and people.informed[3] < 0.3 < people.informed[:3].min()


def test_the_head_is_better_for_knowing_its_people() -> None:
    gained = []
    for seed in range(4, 8):
        x, votes, w = crowd(400, [0.95] * 5 + [0.0] * 5, seed=seed)
        plain = fit(x, votes.value, precision=prior_precision(x))
        aware, _, _ = fit_with_people(x, votes, people=10, precision=prior_precision(x))
        fresh = np.random.default_rng(9).normal(size=(4000, 8))
        right = [((fresh @ head.mean > 0) == (fresh @ w > 0)).mean() for head in (plain, aware)]
        gained.append(right[1] - right[0])
    assert np.mean(gained) > 0


def test_swapping_sides_changes_the_sign_of_nothing_but_the_pairs() -> None:
    x, votes, _ = crowd(300, [0.9, 0.3], seed=8)
    other = Votes(votes.pair, votes.person, 1 - votes.value, left=1 - votes.left)
    one, people, _ = fit_with_people(x, votes, people=2, precision=2.0)
    two, again, _ = fit_with_people(-x, other, people=2, precision=2.0)
    np.testing.assert_allclose(one.mean, two.mean, atol=1e-9)
    np.testing.assert_allclose(people.informed, again.informed, atol=1e-9)
    np.testing.assert_allclose(people.left, again.left, atol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_votes_and_ties_alone_are_no_error(n: int) -> None:
    x = np.ones((n, 3))
    votes = Votes(np.arange(n), np.zeros(n, dtype=np.int64), np.full(n, 0.5))
    head, people, share = fit_with_people(x, votes, people=1, precision=1.0)
    assert np.isfinite(head.mean).all() and np.isfinite(people.informed).all()
    assert len(share) == n
    assert not predicts(x, votes, precision=1.0)


def test_a_head_predicts_votes_that_follow_its_features_and_no_others() -> None:
    x, votes, _ = crowd(400, [0.9] * 4, seed=10)
    assert predicts(x, votes, precision=prior_precision(x))
    wrong = 0
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(votes.value)
        told = Votes(votes.pair, votes.person, shuffled)
        wrong += predicts(x, told, precision=prior_precision(x))
    assert wrong <= 3


def test_a_head_without_a_tenth_of_its_votes_is_nearly_that_of_the_others() -> None:
    x, votes, _ = crowd(1500, [0.9, 0.8])
    precision = prior_precision(x)
    head = fit(x, votes.value, precision=precision)
    own, others = np.arange(150), np.arange(150, 1500)
    exact = fit(x[others], votes.value[others], precision=precision)
    told = head.without(x[own], votes.value[own], np.ones(150))
    np.testing.assert_allclose(told.mean, exact.mean, atol=2e-3)
    np.testing.assert_allclose(told.covariance, exact.covariance, atol=2e-4)
    # It takes more than the head's own mean and covariance to pass.
    assert np.abs(head.mean - exact.mean).max() > 0.02
    assert np.abs(head.covariance - exact.covariance).max() > 2e-4
