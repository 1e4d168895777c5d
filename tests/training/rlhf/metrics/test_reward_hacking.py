"""A score that is gamed: it rises, the text gets worse, and nothing is promoted for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.rlhf import tiny
from tests.training.rlhf.ppo.test_training_loop import train
from tests.training.rlhf.trainers import test_rloo_grpo
from training.rlhf.config import GateConfig, PPOConfig
from training.rlhf.metrics import reward_hacking
from training.rlhf.ppo.best_checkpoint import Judge
from training.rlhf.round import gates
from training.rlhf.run.work import describe

pytestmark = pytest.mark.usefixtures("one_thread")

Gamed = tuple[dict[str, float], list[dict[str, float]]]
CALM = {
    "reward": 1.0,
    "distinct2": 0.8,
    "repetition": 0.01,
    "reference_perplexity": 4.0,
    "length": 20.0,
    "eos_rate": 1.0,
}
CONFIG = PPOConfig(updates=10)


def history(*, updates: int = 10, reward: float = 2.0, **last: float) -> list[dict[str, float]]:
    """`updates` rows: calm at first, with `last` at the end, where the reward is `reward`."""
    end = CALM | {"reward": reward} | last
    return [CALM] * (updates // 2) + [end] * (updates - updates // 2)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("variety", {"distinct2": 0.4}),
        ("repetition", {"repetition": 0.2}),
        ("perplexity", {"reference_perplexity": 9.0}),
        ("length", {"length": 50.0}),
        ("length", {"length": 8.0}),
        ("eos", {"eos_rate": 0.6}),
    ],
)
def test_each_sign_is_raised_by_what_it_watches_and_only_while_the_score_rises(name, last):
    assert reward_hacking.raised(history(**last), CONFIG) == [name]
    assert reward_hacking.raised(history(reward=0.9, **last), CONFIG) == []
    assert reward_hacking.raised(history(), CONFIG) == []


def test_one_odd_update_and_a_run_that_has_just_begun_raise_nothing():
    odd = [CALM | {"reward": 2.0}] * 9 + [CALM | {"reward": 2.0, "length": 45.0}]
    assert reward_hacking.raised(odd, PPOConfig(updates=20)) == []
    assert reward_hacking.raised(history(updates=3, length=90.0), CONFIG) == []


def test_what_is_not_measured_raises_nothing():
    def blind(rows: list[dict[str, float]]) -> list[dict[str, float]]:
        return [{k: v for k, v in row.items() if k != "reference_perplexity"} for row in rows]

    assert reward_hacking.raised(blind(history(reference_perplexity=9.0)), CONFIG) == []
    assert reward_hacking.raised(blind(history(distinct2=0.4)), CONFIG) == ["variety"]


def test_a_policy_that_never_stops_is_told_so_whatever_the_score_does():
    never = [CALM | {"eos_rate": 0.0}] * 10
    assert reward_hacking.raised(never, CONFIG) == ["endless"]
    said = describe(never[-1] | reward_hacking.metrics(never, CONFIG))
    assert "no reply ended by itself" in said
    assert "stop token" in said


def most_repeated(chats: list[Any], replies: list[str]) -> list[float]:
    """A good letter, which is best said again and again."""
    return [float(reply.count("e")) for reply in replies]


@pytest.fixture(scope="module")
def gamed(tmp_path_factory: pytest.TempPathFactory) -> Gamed:
    """A run without KL against that score, with a judge that has the same weakness."""
    work = tmp_path_factory.mktemp("gamed")
    return train(
        tiny.llama(work / "starter", sharpness=4.0),
        work / "run",
        score=most_repeated,
        judge=Judge(most_repeated, [row["messages"] for row in tiny.prompts(8)]),
        updates=10,
        batch_size=24,
        minibatch_size=24,
        epochs=4,
        max_new_tokens=10,
        learning_rate=2e-2,
        kl_coef=0.0,
        missing_eos_penalty=0.0,
        checkpoint_every=99,
        select_every=1,
        alarm_perplexity_ratio=100.0,  # to an untrained starter everything is strange
    )


def failed(trained: dict[str, float]) -> list[str]:
    judged = gates({"train_policy": trained}, GateConfig())
    return [gate.text for gate in judged if gate.name == "alarms" and not gate.passed]


def test_a_score_gamed_by_repetition_fails_its_gate(gamed):
    summary, seen = gamed
    assert summary["reward_last"] > summary["reward_first"] + 1
    assert seen[-1]["distinct2"] < seen[0]["distinct2"]
    assert seen[-1]["alarm_variety"] == 1.0
    assert "variety fell" in failed(seen[-1])[0]


def test_the_judge_goes_back_to_before_the_alarm(gamed):
    summary, seen = gamed
    kept = int(summary["best_update"])
    assert seen[kept - 1]["alarms"] == 0
    liked = [row["judge_reward"] for row in seen]
    assert liked[kept - 1] == summary["judge_reward"] < max(liked) - 2
    assert failed(summary) == []


@pytest.mark.parametrize("optimiser", test_rloo_grpo.OPTIMISERS)
def test_a_score_gamed_without_a_critic_fails_the_same_gate(optimiser, tmp_path):
    summary, seen = test_rloo_grpo.train(
        optimiser,
        tiny.llama(tmp_path / "starter", sharpness=4.0),
        tmp_path / "run",
        score=most_repeated,
        updates=10,
        batch_size=32,
        minibatch_size=32,
        epochs=2,
        max_new_tokens=10,
        learning_rate=2e-2,
        beta=0.0,
        checkpoint_every=99,
    )
    assert summary["reward_last"] > summary["reward_first"] + 1
    assert "reference_perplexity" not in seen[0]  # without beta nothing reads the reference
    assert "variety fell" in failed(summary)[0]


def test_an_optimiser_that_samples_nothing_has_no_such_gate():
    judged = gates({"train_policy": {"loss": 0.5, "accuracy": 0.8}}, GateConfig())
    assert "alarms" not in [gate.name for gate in judged]
