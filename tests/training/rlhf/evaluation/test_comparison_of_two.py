from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from tests.training.rlhf import tiny, world
from training.rlhf import rows
from training.rlhf.completions.sampling import Policy, Settings
from training.rlhf.config import ConfigError, EvaluateConfig
from training.rlhf.evaluation import comparison, kl_and_perplexity
from training.rlhf.reward import reward_model
from training.rlhf.run.failures import ModelError
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work

CPU = torch.device("cpu")
SETTINGS = Settings(temperature=0.8, max_new_tokens=10, batch_size=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> comparison.Models:
    """A starter, another policy, and two untrained but different reward models."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    starter = world.starter(root / "starter")
    other = tiny.llama(root / "other", seed=5)
    for seed, name in enumerate(("reward", "judge")):
        model = reward_model.new(starter, pooling="mean", max_length=128, device=CPU)
        torch.manual_seed(seed)
        assert isinstance(model.head, torch.nn.Linear)
        torch.nn.init.normal_(model.head.weight)
        model.save(root / name)
    return comparison.Models(
        policy=str(other),
        before=str(starter),
        starter=str(starter),
        reward=str(root / "reward"),
        judge=str(root / "judge"),
    )


def silent(folder: Path) -> Work:
    return Work.in_folder(folder, seed=1, device="cpu", silent=True)


def run(folders: comparison.Models, out: Path, *, stop_at: int | None = None) -> dict[str, float]:
    calls: list[int] = []

    def guard() -> None:
        calls.append(1)
        if len(calls) == stop_at:
            raise Stopped

    out.mkdir(exist_ok=True)
    return comparison.evaluate(
        folders,
        world.prompts(64),
        EvaluateConfig(prompts=12, max_new_tokens=8, batch_size=2, samples=3),
        out,
        dataclasses.replace(silent(out), guard=guard),
    )


def test_a_policy_against_itself_draws(folders: comparison.Models, tmp_path: Path) -> None:
    same = comparison.Models(**(vars(folders) | {"policy": folders.before}))
    metrics = run(same, tmp_path / "out")
    assert metrics["win_rate"] == metrics["reward_win_rate"] == 0.5
    assert metrics["kl"] == pytest.approx(0.0, abs=1e-3)
    assert metrics["length"] == metrics["length_before"]
    ends = [metrics[f"reward_gain{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0.0] * 3, abs=1e-6)


def test_without_a_judge_the_reward_alone_says_what_was_gained(
    folders: comparison.Models, tmp_path: Path
) -> None:
    metrics = run(comparison.Models(**(vars(folders) | {"judge": ""})), tmp_path / "out")
    assert "win_rate" not in metrics and "judge_after" not in metrics
    gained = metrics["reward_after"] - metrics["reward_before"]
    assert metrics["reward_gain"] == pytest.approx(gained)
    assert metrics["reward_gain_low"] <= gained <= metrics["reward_gain_high"]


def test_two_policies_differ_and_the_interval_holds_the_rate(
    folders: comparison.Models, tmp_path: Path
) -> None:
    metrics = run(folders, tmp_path / "out")
    assert metrics["kl"] > 0.5
    assert metrics["win_rate_low"] < metrics["win_rate"] < metrics["win_rate_high"]
    assert metrics["prompts"] == 12
    lines = (tmp_path / "out" / "samples.jsonl").read_text().splitlines()
    assert len(lines) == 3
    held_out = {p.prompt_id for p in world.prompts(64) if p.held_out}
    assert all(json.loads(line)["prompt_id"] in held_out for line in lines)


def test_it_goes_on_from_the_replies_it_has(folders: comparison.Models, tmp_path: Path) -> None:
    straight = run(folders, tmp_path / "a")
    with pytest.raises(Stopped):
        run(folders, tmp_path / "b", stop_at=3)
    assert run(folders, tmp_path / "b") == straight


def test_only_held_out_prompts_are_evaluated() -> None:
    prompts = world.prompts()
    chosen = comparison.held_out_prompts(prompts, 100, seed=0)
    assert {p.prompt_id for p in chosen} == {p.prompt_id for p in prompts if p.held_out}
    with pytest.raises(ConfigError, match="no held-out prompt"):
        comparison.held_out_prompts([p for p in prompts if not p.held_out], 100, seed=0)


def test_every_reply_is_kept_with_its_numbers(folders: comparison.Models, tmp_path: Path) -> None:
    metrics = run(folders, tmp_path / "out")
    kept = [data for _, data in rows.read_json(tmp_path / "out" / "replies.jsonl")]
    assert len(kept) == 2 * 12
    kl = [row["numbers"]["kl"] for row in kept if row["model"] == "after"]
    assert sum(kl) / 12 == pytest.approx(metrics["kl"])
    assert metrics["kl_before"] == pytest.approx(0.0, abs=1e-3)
    assert metrics["perplexity"] > metrics["perplexity_before"] > 1


def test_the_kl_is_that_of_the_tempered_distributions(folders: comparison.Models) -> None:
    """A policy's own replies have no KL to itself, at whatever temperature they were drawn."""
    policy = Policy(folders.policy, device=CPU)
    chats = [p.messages for p in world.prompts(6)]
    replies = policy.reply(chats, SETTINGS, seed=3)
    assert kl_and_perplexity.kl_to(policy, chats, replies, SETTINGS) == pytest.approx(0.0, abs=1e-4)


def test_a_chat_that_does_not_fit_is_cut_as_it_was_for_the_sampler(
    folders: comparison.Models,
) -> None:
    policy = Policy(folders.policy, device=CPU)
    question = [dict(m) for m in world.prompts(1)[0].messages]
    long = [question * 200]
    settings = Settings(temperature=1.0, max_new_tokens=64, batch_size=1)
    (whole,) = policy.reply(long, settings, seed=3)
    replies = [dataclasses.replace(whole, ids=whole.ids[:5], logprobs=whole.logprobs[:5])]
    assert kl_and_perplexity.kl_to(policy, long, replies, settings) == pytest.approx(0.0, abs=1e-4)


def test_a_reply_as_long_as_the_context_is_one_line(folders: comparison.Models) -> None:
    policy = Policy(folders.policy, device=CPU)
    context = policy.model.config.max_position_embeddings
    settings = Settings(temperature=1.0, max_new_tokens=context, batch_size=1)
    with pytest.raises(ModelError, match="leaves no room for a prompt"):
        policy.reply([world.prompts(1)[0].messages], settings, seed=3)
