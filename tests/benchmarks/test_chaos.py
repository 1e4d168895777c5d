"""Votes while web processes, servers and workers are killed."""

from __future__ import annotations

import pytest

from benchmarks.under_load import chaos

HARMS = (
    "acknowledged_and_not_stored",
    "stored_as_another_choice",
    "stored_twice",
    "pairs_with_votes_over_their_limit",
    "pairs_miscounted",
    "answers_5xx_other_than_503",
)


@pytest.mark.parametrize(
    ("database", "seconds"),
    [
        ("sqlite", 6),
        pytest.param("sqlite", 60, marks=pytest.mark.long),
        pytest.param("postgres", 60, marks=pytest.mark.long),
    ],
)
def test_no_vote_is_lost_doubled_or_miscounted_while_everything_is_killed(database, seconds):
    counted = chaos.measure(database, seconds=seconds, people=8, pairs=300 * seconds, seed=seconds)
    assert counted["acknowledged"] > 0
    assert {harm: counted[harm] for harm in HARMS} == dict.fromkeys(HARMS, 0)
