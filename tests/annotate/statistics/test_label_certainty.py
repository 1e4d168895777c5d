"""The probability that the label of one pair is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.statistics.label_certainty import posterior
from benchmarks.trials.certain_labels import Crew, certain, independent

VOTES = st.lists(
    st.tuples(st.sampled_from(["a", "tie", "b", "both_bad"]), st.floats(0, 1, allow_nan=False)),
    max_size=8,
)
TIES = st.floats(0, 1, allow_nan=False)


def test_without_votes_the_sides_are_alike_and_ties_as_common_as_they_are():
    assert posterior([], 0.2) == pytest.approx((0.4, 0.2, 0.4))


def test_two_equal_votes_of_reliable_people_are_nearly_certain():
    a, tie, b = posterior([("a", 0.95), ("a", 0.95)], 0.1)
    assert a > 0.96 and tie < 0.01
    assert posterior([("b", 0.95), ("b", 0.95)], 0.1) == pytest.approx((b, tie, a))
    assert posterior([("tie", 0.9)], 0.1) == posterior([("both_bad", 0.9)], 0.1)
    assert posterior([("a", None)], 0.1)[0] < posterior([("a", 0.9)], 0.1)[0]


@pytest.mark.parametrize("reliability", [0.6, 0.75, 0.9])
@pytest.mark.parametrize("ties", [0.01, 0.2, 1 / 3])
def test_equal_votes_tell_less_than_as_many_of_independent_errors(reliability, ties):
    """Two who err on the same hard pairs are one and a half witnesses, not two."""
    votes = [("a", reliability)] * 2
    right, wrong = reliability, (1 - reliability) / 2
    alone = right**2 / (right**2 + 2 * wrong**2)
    if ties == 1 / 3:
        assert independent(votes, ties)[0] == pytest.approx(alone)
    assert 0.5 < posterior(votes, ties)[0] < alone
    assert posterior(votes[:1], ties)[0] < posterior(votes, ties)[0]


@pytest.mark.parametrize("reliability", [0.0, 0.2, 0.33])
def test_votes_no_better_than_a_guess_tell_nothing(reliability):
    told = posterior([("a", reliability)] * 3, 1 / 3)
    assert told == pytest.approx((1 / 3, 1 / 3, 1 / 3), abs=0.01)


@given(VOTES, TIES, st.randoms())
def test_the_order_of_the_votes_does_not_matter(votes, ties, random):
    told = posterior(votes, ties)
    random.shuffle(votes)
    assert sum(told) == pytest.approx(1) and min(told) >= 0
    assert posterior(votes, ties) == pytest.approx(told)


@given(VOTES, TIES)
def test_swapping_the_completions_swaps_what_is_believed(votes, ties):
    swapped = [({"a": "b", "b": "a"}.get(choice, choice), trust) for choice, trust in votes]
    assert posterior(swapped, ties) == pytest.approx(posterior(votes, ties)[::-1])


@pytest.mark.parametrize(("scale", "guessing"), [(3.0, 0), (1.5, 0), (1.5, 3)])
def test_of_labels_called_certain_by_95_in_100_about_as_many_are_right(scale, guessing):
    shares = [
        float(np.mean(certain(Crew(scale, guessing, seed), posterior, 0.95, 1000)[0]))
        for seed in range(3)
    ]
    assert 0.92 <= np.mean(shares) <= 0.99
