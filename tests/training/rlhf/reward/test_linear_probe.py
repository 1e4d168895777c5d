"""Reward models that are a linear head on a trunk as it is, of decoders and of encoders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tests.training.rlhf import tiny, trunks, world
from training.rlhf import acquire
from training.rlhf.config import ConfigError, LoraConfig, RewardConfig
from training.rlhf.reward import held_out_report, model_and_judge, reward_model, reward_training
from training.rlhf.reward.reward_data import examples
from training.rlhf.run.work import Work

PROBE = RewardConfig(linear_probe=True, pooling="mean", max_length=96)
BASES = {"llama": tiny.llama, "bert": trunks.bert}


def train(
    base: Path, out: Path, config: RewardConfig = PROBE
) -> tuple[reward_model.RewardModel, dict[str, float]]:
    work = Work.in_folder(out, silent=True, threads=1)
    return reward_training.train(base, world.preferences(60), config, out / "model", work)


@pytest.mark.parametrize("name", BASES)
def test_a_linear_probe_is_the_bayesian_fit_on_the_trunk_as_it_was(
    tmp_path: Path, name: str
) -> None:
    base = BASES[name](tmp_path / "base")
    model, metrics = train(base, tmp_path)
    assert metrics["steps"] == 0
    before = reward_model.new(
        base, pooling="mean", max_length=96, device=torch.device("cpu"), linear_head=True
    )
    for key, weight in before.trunk.state_dict().items():
        assert torch.equal(weight, model.trunk.state_dict()[key]), key
    pairs = examples(world.preferences(60), before.read)
    with torch.no_grad():
        one_by_one = [before.features([text])[0] for pair in pairs for text in pair.texts]
    features = torch.stack(one_by_one).double().numpy()
    x = (features[0::2] - features[1::2]) / (spread := features.std(axis=0))
    weights = np.array([pair.weight for pair in pairs])
    fit = acquire.fit(
        x,
        np.array([pair.value for pair in pairs]),
        precision=acquire.prior_precision(x),
        weights=weights / weights.mean(),
    )
    assert model.head is not None
    got = model.head.weight[0].detach().double().numpy()
    np.testing.assert_allclose(got * spread, fit.mean, rtol=1e-3, atol=1e-4)


def test_an_encoder_is_read_by_the_mean_of_its_replys_hidden_states(tmp_path: Path) -> None:
    base = trunks.bert(tmp_path / "base")
    model, _ = train(base, tmp_path, dataclasses.replace(PROBE, heads=1))
    chats = [prompt.messages for prompt in world.prompts()[:3]]
    replies = ["good parcel", "bad", "happy today, please"]
    scores = model.score(chats, replies)
    assert reward_model.load(tmp_path / "model").score(chats, replies) == scores
    head = load_file(tmp_path / "model" / "model.safetensors")["score.weight"][0]
    plain, words = AutoModel.from_pretrained(base).eval(), AutoTokenizer.from_pretrained(base)
    for messages, reply, score in zip(chats, replies, scores, strict=True):
        asked = "\n".join(f"{m['role']}: {m['content']}" for m in messages)
        ids = words(asked, reply, return_tensors="pt")["input_ids"]
        said = len(words(reply, add_special_tokens=False)["input_ids"]) + 1  # and its end
        with torch.no_grad():
            states = plain(input_ids=ids).last_hidden_state[0, -said:]
        assert float(states.mean(0) @ head) == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2)])
def test_an_encoder_with_a_mean_learns_a_planted_rule_and_is_saved_as_it_scores(
    tmp_path: Path, lora: LoraConfig | None
) -> None:
    config = RewardConfig(epochs=10.0, max_length=96, learning_rate=3e-3, pooling="mean", lora=lora)
    model, _ = train(trunks.bert(tmp_path / "base"), tmp_path, config)
    fresh = [pair for pair in world.preferences(200, seed=9) if pair.held_out]
    seen = held_out_report.held_out(model, fresh)
    assert seen.metrics()["accuracy"] > 0.8
    again = held_out_report.held_out(reward_model.load(tmp_path / "model"), fresh)
    np.testing.assert_allclose(again.logits, seen.logits, atol=1e-5)


def test_the_judge_of_a_linear_probe_is_another_fit_and_may_be_left_out(tmp_path: Path) -> None:
    base, told = tiny.llama(tmp_path / "base"), []
    for name, judge in (("both", True), ("alone", False)):
        out = tmp_path / name
        work = Work.in_folder(out, silent=True, threads=1)
        config = RewardConfig(linear_probe=True, max_length=96, judge=judge)
        metrics = model_and_judge.fit_rewards(str(base), world.preferences(60), config, out, work)
        told.append(metrics)
    assert "judge_accuracy" in told[0] and "judge_accuracy" not in told[1]
    assert told[0]["accuracy"] == told[1]["accuracy"]
    assert not (tmp_path / "alone" / "judge").exists()
    heads = [
        load_file(tmp_path / "both" / one / "model.safetensors")["score.weight"]
        for one in ("model", "judge")
    ]
    assert not torch.equal(*heads)


def test_a_linear_probe_does_not_go_on_from_an_earlier_head() -> None:
    with pytest.raises(ConfigError, match="linear_probe"):
        RewardConfig(linear_probe=True, warm_start=True)
