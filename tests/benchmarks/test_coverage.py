"""Every interval of a page against known truths, by the benchmark that publishes their coverage."""

from __future__ import annotations

import pytest

from benchmarks.trials import coverage


@pytest.mark.parametrize("one", coverage.INTERVALS, ids=lambda one: one.name)
def test_an_interval_is_no_lie_at_a_few_looks(one: coverage.Interval) -> None:
    """Of 15 worlds, an interval of 93 % leaves four or more with probability .01."""
    assert coverage.coverage(one, replicates=15, seed=1) >= 11 / 15


@pytest.mark.long
@pytest.mark.parametrize("one", coverage.INTERVALS, ids=lambda one: one.name)
def test_an_interval_covers_what_it_says(one: coverage.Interval) -> None:
    """200 worlds tell a share to 1.5 points: two of those more than the bounds allow."""
    share = coverage.coverage(one, replicates=200, seed=2)
    assert share >= (0.945 if one.always else 0.93) - 0.031
    assert one.always or share <= 0.97 + 0.025
