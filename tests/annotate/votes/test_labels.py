"""Labels of votes whose strength is known, partly known or unknown."""

from __future__ import annotations

import pytest

from annotate.votes.labels import verdict


@pytest.mark.parametrize(
    ("votes", "margin"),
    [
        ([("a", 3), ("a", 1)], 2 / 3),
        ([("a", 3), ("b", 1)], 1 / 3),
        ([("a", 3), ("tie", 0)], 1 / 2),
        ([("tie", None), ("both_bad", 0)], 0.0),
        ([("a", None)], None),
        ([("a", None), ("b", None), ("tie", 0)], None),
        ([("a", None), ("a", 3)], 1.0),
        ([("a", None), ("a", 3), ("tie", None)], 1 / 2),
    ],
)
def test_the_margin_is_that_of_the_votes_whose_strength_is_known(votes, margin):
    assert verdict(votes).margin == (None if margin is None else pytest.approx(margin))


def test_the_outcome_counts_votes_of_any_strength():
    found = verdict([("a", None), ("b", 3), ("a", None)])
    assert (found.outcome, found.n_votes, found.fraction_a) == ("a", 3, pytest.approx(2 / 3))
