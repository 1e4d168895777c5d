from __future__ import annotations

import math

import numpy as np
import pytest

from training.rlhf.config import GateConfig
from training.rlhf.metrics.gates import Gate, gates


@pytest.mark.parametrize("name", ["broken", "repetition"])
@pytest.mark.parametrize(
    ("before", "after", "passes"),
    [(None, 0.1, True), (None, 0.3, False), (0.0, 0.3, False), (0.62, 0.5, True), (0.62, 0.7, 0)],
)
def test_a_policy_that_begins_outside_a_bound_has_to_be_no_worse(
    name: str, before: float | None, after: float, passes: bool
) -> None:
    metric = "broken_rate" if name == "broken" else name
    measured: dict[str, float | None] = {metric: after, f"{metric}_before": before}
    [gate] = [one for one in gates({"evaluate": measured}, GateConfig()) if one.name == name]
    assert gate.passed == passes
    assert ("no more than the policy before" in gate.text) == (before == 0.62)


def one(name: str, stage: str = "evaluate", **measured: float) -> Gate:
    """The gate of this name, of a candidate of which only this is known."""
    [gate] = [g for g in gates({stage: measured}, GateConfig()) if g.name == name]
    return gate


@pytest.mark.parametrize(
    ("accuracy", "pairs", "measured", "passed"),
    [
        (0.54, 13, False, False),  # a good model on few pairs: nobody knows
        (0.85, 13, True, True),
        (0.15, 13, True, False),
        (0.55, 100, True, False),
        (0.65, 100, True, True),
        (0.6, 0, False, False),
    ],
)
def test_an_accuracy_counts_by_the_lower_end_of_its_interval_and_on_few_pairs_perhaps_not(
    accuracy: float, pairs: int, measured: bool, passed: bool
) -> None:
    gate = one("reward_accuracy", "train_reward", accuracy=accuracy, pairs_held_out=float(pairs))
    assert (gate.measured, gate.passed) == (measured, passed)
    assert ("not measured" in gate.text) != measured


def test_a_coin_passes_the_accuracy_gate_one_time_in_forty() -> None:
    rng = np.random.default_rng(3)
    for pairs in (11, 30, 60, 150):
        right = rng.binomial(pairs, 0.5, size=1000) / pairs
        passed = [one("reward_accuracy", "train_reward", accuracy=r, pairs_held_out=pairs).passed
                  for r in right]  # fmt: skip
        assert np.mean(passed) < 0.045


def test_what_creeps_from_round_to_round_is_held_against_the_starter() -> None:
    """Each step is within any bound against the policy before."""
    crept = {"length": 34.0, "length_before": 30.0, "length_starter": 20.0}
    assert not one("length", **crept).passed
    thin = {"distinct2": 0.22, "distinct2_before": 0.25, "distinct2_starter": 0.5}
    assert not one("distinct2", **thin).passed


@pytest.mark.parametrize("name", ["length", "distinct2"])
def test_a_starter_without_a_figure_to_compare_with_is_nothing_against_a_policy(name: str) -> None:
    measured = {"evaluate": {name: 4.0, f"{name}_starter": 0.0}}
    assert name not in [gate.name for gate in gates(measured, GateConfig())]
    assert one(name, **{f"{name}_starter": 2.0}).failed, "the policy's own figure is missing"


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_diverged_is_failed_and_what_may_be_absent_is_not(value: float | None) -> None:
    judged = gates({"evaluate": {"kl": value, "win_rate_low": value}}, GateConfig())
    failed = {gate.name: gate.failed for gate in judged}
    assert failed["kl"] and failed["broken"] and failed["refusals"]
    assert not failed["win_rate"] and not failed["reward_accuracy"]


@pytest.mark.parametrize("habit", ["refusal", "flattery", "hedging", "markdown"])
def test_a_habit_may_rise_a_little_over_the_starter(habit: str) -> None:
    gate = "refusals" if habit == "refusal" else habit
    for share, passed in ((0.3, True), (0.1, True), (0.5, False)):
        rates = {f"{habit}_rate": share, f"{habit}_rate_starter": 0.1}
        assert one(gate, **rates).passed == passed
    assert not one(gate, **{f"{habit}_rate": 0.1}).measured


@pytest.mark.parametrize(("kl", "tokens", "passed"), [(6.8, 20, 1), (11.3, 20, 0), (39, 200, 1)])
def test_the_bound_of_kl_follows_the_length_of_replies(kl: float, tokens: int, passed: int) -> None:
    assert one("kl", kl=kl, length_starter=tokens).passed == bool(passed)


def test_a_reward_model_far_ahead_of_the_judge_is_an_alarm() -> None:
    assert one("judge_lead", reward_win_rate=0.9, win_rate=0.8).passed
    assert not one("judge_lead", reward_win_rate=0.95, win_rate=0.6).passed


def test_a_judge_that_is_not_independent_is_called_so() -> None:
    evaluated = {"win_rate_low": 0.6, "prompts": 200.0}
    for independent in (0.0, 1.0):
        trained = {"judge_independent": independent}
        judged = gates({"evaluate": evaluated, "train_reward": trained}, GateConfig())
        [gate] = [one for one in judged if one.name == "win_rate"]
        assert ("not independent" in gate.text) == (not independent)
        assert "200 prompts" in gate.text
