from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.trials import live_control
from training.active import arm_comparison
from training.active.arm_comparison import LEAST_VOTES, Arms, compare, lacking, modes
from training.rlhf import acquire

D = 12


def arms(*, active_length: float, random_length: float, votes: int = 150, seed: int = 0) -> Arms:
    """Votes on pairs whose features, and with them what a vote tells, are long or short."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=D)
    w /= np.linalg.norm(w)
    lengths = np.repeat([active_length, random_length], [3 * votes, votes])
    x = rng.normal(size=(len(lengths), D)) * lengths[:, None]
    value = (rng.random(len(x)) < 1 / (1 + np.exp(-2 * x @ w))).astype(float)
    active = np.arange(len(x)) < 3 * votes
    order, held_out = (rng.normal(size=(n, D)) * random_length for n in (800, 400))
    return Arms(x, value, np.ones(len(x)), active, ~active, order, held_out)


def told(of: Arms, *, seed: int = 1) -> arm_comparison.Comparison:
    head = acquire.fit(of.x, of.value, precision=acquire.prior_precision(of.x))
    comparison = compare(of, head, informed=1.0, seed=seed)
    assert comparison is not None
    return comparison


@pytest.mark.parametrize(("n", "d"), [(90, 6), (30, 50)])
def test_heads_of_several_samples_are_those_of_single_fits(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    x, mass = rng.normal(size=(3, n, d)), rng.random((3, n)) + 0.3
    y = rng.choice([0.0, 0.5, 1.0], size=(3, n))
    each = [acquire.fit(*of, precision=d / 4, weights=m).mean
            for *of, m in zip(x, y, mass, strict=True)]  # fmt: skip
    assert np.allclose(modes(x, y, mass, d / 4), each, atol=1e-4)


def test_pairs_that_tell_more_are_a_gain_and_those_that_tell_less_a_loss() -> None:
    better = told(arms(active_length=1.0, random_length=0.25))
    worse = told(arms(active_length=0.25, random_length=1.0))
    assert better.low > 0 and worse.high < 0
    value, low, high = better.worth() or (0, 0, 0)
    assert 1 < low <= value <= high and not better.contradicted


def test_equal_arms_are_no_gain() -> None:
    same = [told(arms(active_length=0.7, random_length=0.7, seed=seed)) for seed in range(4)]
    assert all(one.low < 0 < one.high for one in same)


def test_several_votes_on_each_pair_of_equal_arms_are_no_loss() -> None:
    """Three votes on each pair, in either arm: both ask about a third as many different pairs."""
    gains = []
    for seed in range(4):
        run, rng = live_control.planted("none", seed, 600), np.random.default_rng(seed)
        asked, drawn = (np.repeat(rows[: len(rows) // 3], 3) for rows in run.votes(300))
        pair = np.concatenate([asked, drawn])
        active = np.arange(len(pair)) < len(asked)
        world = run.of
        of = Arms(
            x=world.x[pair],
            value=live_control.cast(world, pair, rng),
            weight=np.ones(len(pair)),
            active=active,
            random=~active,
            order=world.x[run.order],
            held_out=world.x[run.held_out],
            pair=pair,
        )
        comparison = told(of)
        assert comparison.low < 0 < comparison.high
        apart = told(replace(of, pair=np.arange(len(pair))))
        gains.append((comparison.gain, apart.gain))
    # As if each vote were on a pair of its own, random order would seem to teach more.
    repeated, apart_ = np.mean(gains, axis=0)
    assert apart_ < repeated - 0.015


def test_real_votes_overrule_a_model_that_they_contradict() -> None:
    """The active arm met pairs that nobody can judge, and their features do not show it."""
    of = arms(active_length=1.0, random_length=1.0, votes=300)
    coins = (np.random.default_rng(2).random(len(of.value)) < 0.5).astype(float)
    mixed = replace(of, value=np.where(of.active, coins, of.value))
    honest = acquire.fit(of.x, of.value, precision=D / 4).mean
    measured = replace(
        mixed,
        held_votes=np.arange(400),
        held_value=(of.held_out @ honest > 0).astype(float),
        held_prompt=np.arange(400) // 2,
    )
    comparison = told(measured)
    assert comparison.contradicted and comparison.high < 0


def test_a_comparison_says_what_it_lacks() -> None:
    whole = arms(active_length=1.0, random_length=1.0)
    assert lacking(whole) == ""
    few = replace(whole, random=whole.random & (np.arange(len(whole.x)) < 450 + LEAST_VOTES - 7))
    assert lacking(few) == "7 more votes of the random arm"
    assert "held-out prompts" in lacking(replace(whole, held_out=whole.held_out[:9]))
    head = acquire.fit(few.x, few.value, precision=1.0)
    assert compare(few, head, informed=1.0, seed=1) is None


@pytest.mark.parametrize("seed", [0, 3])
def test_the_trials_planted_gain_is_told_and_equal_arms_are_not(seed: int) -> None:
    gain, none = (live_control.planted(name, seed, 2000).look(2000) for name in ("gain", "none"))
    assert gain is not None and none is not None
    assert gain.low > 0 and none.low < 0 < none.high


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "says", "least", "most"),
    [("gain", "gain", 8, 10), ("loss", "loss", 8, 10), ("none", "gain", 0, 1)],
)
def test_ten_runs_of_the_trial(plant: str, says: str, least: int, most: int) -> None:
    counts = live_control.looks(2000)
    runs = [live_control.said(live_control.planted(plant, seed, 2000), counts)
            for seed in range(100, 110)]  # fmt: skip
    cried = sum(any(one.low > 0 if says == "gain" else one.high < 0 for one in run) for run in runs)
    assert least <= cried <= most
