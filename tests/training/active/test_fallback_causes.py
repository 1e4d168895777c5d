from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.active.arm_comparison import Comparison
from training.active.fallback_causes import RULES, Cause, Facts, Slope, judged, of_pool, slope

SANE = Facts(open_pairs=100, known=100)


def comparison(gain: float, half: float) -> Comparison:
    return Comparison(100, 200, gain, gain - half, gain + half, 0.7, 0.7, False, 0.05)


BEGUN = {
    Cause.NO_NUMBERS: replace(SANE, no_numbers=0.6),
    Cause.CONSTANT: replace(SANE, constant=1.0),
    Cause.EXHAUSTED: replace(SANE, known=0),
    Cause.DRIFTED: replace(SANE, outside=0.95),
    Cause.MISCALIBRATED: replace(SANE, slope=Slope(0.2, 0.0, 0.4, 100)),
    Cause.LOSS: replace(SANE, comparison=comparison(-0.05, 0.03)),
}
BETWEEN = {
    Cause.NO_NUMBERS: replace(SANE, no_numbers=0.4),
    Cause.CONSTANT: replace(SANE, constant=0.9),
    Cause.DRIFTED: replace(SANE, outside=0.85),
    Cause.MISCALIBRATED: replace(SANE, slope=Slope(0.4, 0.2, 0.6, 100)),
    Cause.LOSS: replace(SANE, comparison=comparison(-0.01, 0.03)),
}
"""Neither bad enough to begin nor good enough to end."""
GOOD = replace(SANE, slope=Slope(0.9, 0.7, 1.1, 100), comparison=comparison(0.01, 0.03))


@pytest.mark.parametrize("cause", BEGUN)
def test_each_cause_begins_and_ends_where_it_is_gone(cause: Cause) -> None:
    assert judged(BEGUN[cause], "") == cause
    assert judged(GOOD, cause) is None


@given(st.sampled_from(sorted(BETWEEN)), st.lists(st.booleans(), max_size=8))
def test_facts_between_the_bounds_change_nothing(cause: Cause, gone: list[bool]) -> None:
    """Whatever came first stays, so the queue does not go to and fro."""
    before = ""
    for end in gone:
        before = judged(GOOD if end else BEGUN[cause], before) or ""
        assert (judged(BETWEEN[cause], before) or "") == before


def test_every_rule_is_tried_here() -> None:
    assert {rule.cause for rule in RULES} == set(BEGUN) == set(Cause) - {Cause.NO_HEAD}
    assert judged(SANE, "") is None


def test_a_loss_that_is_measured_no_more_lasts() -> None:
    assert judged(SANE, Cause.LOSS) == Cause.LOSS


def pool(n: int, d: int = 4, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float16)


@pytest.mark.parametrize("n", [1, 10, 1_000_000])
def test_few_and_very_many_pairs_are_judged_alike(n: int) -> None:
    x = np.tile(pool(10), (max(n // 10, 1), 1))[:n]
    facts = of_pool(x, pool(50, seed=1).astype(np.float64), open_pairs=n)
    assert facts.known == n and judged(facts, "") is None


def test_pools_that_cannot_be_ranked_are_known_by_their_features() -> None:
    asked = pool(60, seed=1).astype(np.float64)
    gone = np.full((30, 4), np.nan, dtype=np.float16)
    assert judged(of_pool(gone, asked, open_pairs=30), "") == Cause.NO_NUMBERS
    assert judged(of_pool(np.zeros_like(gone), asked, open_pairs=30), "") == Cause.CONSTANT
    assert judged(of_pool(gone[:0], asked, open_pairs=30), "") == Cause.EXHAUSTED
    assert judged(of_pool(gone[:0], asked, open_pairs=0), "") is None
    assert judged(of_pool(8 * pool(30), asked, open_pairs=30), "") == Cause.DRIFTED
    halves = np.zeros((60, 4))
    halves[:, :2] = asked[:, :2]
    elsewhere = np.zeros((30, 4), dtype=np.float16)
    elsewhere[:, 2:] = pool(30)[:, 2:]
    assert judged(of_pool(elsewhere, halves, open_pairs=30), "") == Cause.DRIFTED


@pytest.mark.parametrize(("planted", "bad"), [(1.0, False), (0.15, True), (-0.5, True)])
def test_the_slope_finds_a_head_that_is_surer_than_it_is_right(planted: float, bad: bool) -> None:
    rng = np.random.default_rng(3)
    logit = 2 * rng.normal(size=400)
    value = (rng.random(400) < 1 / (1 + np.exp(-planted * logit))).astype(float)
    of = slope(logit, value, np.arange(400) // 2)
    assert of is not None and of.low < planted < of.high
    assert (judged(replace(SANE, slope=of), "") == Cause.MISCALIBRATED) is bad


def test_few_votes_few_prompts_and_no_opinion_have_no_slope() -> None:
    logit, value = np.linspace(-1, 1, 100), np.full(100, 0.5)
    assert slope(logit[:20], value[:20], np.arange(20)) is None
    assert slope(logit, value, np.zeros(100, dtype=np.int64)) is None
    assert slope(0 * logit, value, np.arange(100)) is None
    ties = slope(logit, value, np.arange(100))
    assert ties is not None and ties.value == pytest.approx(0, abs=1e-6)
