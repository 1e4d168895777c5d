"""Several heads on one trunk: where they disagree a reply's score is lowered."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from tests.training.rlhf import tiny, trunks, world
from training.rlhf.config import ConfigError, GateConfig, LoraConfig, RewardConfig
from training.rlhf.metrics import preference_head
from training.rlhf.metrics.gates import gates
from training.rlhf.reward import model_and_judge, reward_data, reward_model, reward_training
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.reward.score_heads import caution
from training.rlhf.run.work import Work

CONFIG = RewardConfig(epochs=1.0, batch_size=8, max_length=128)
CHATS = [prompt.messages for prompt in world.prompts(8)]
REPLIES = ["good parcel", "bad", "happy today", "awful", "it is great", "sad", "rude", "kind fox"]


def train(base: Path, out: Path, config: RewardConfig = CONFIG) -> RewardModel:
    work = Work.in_folder(out, silent=True, threads=1)
    return reward_training.train(base, world.preferences(60), config, out / "model", work)[0]


def disagreement(model: RewardModel, texts: list[str]) -> float:
    """Mean standard deviation of the heads, in standard deviations of the score."""
    read = [model.read(CHATS[i % len(CHATS)], text) for i, text in enumerate(texts)]
    with torch.no_grad():
        scores = model.by_head(read)
    return float(scores.std(dim=1).mean())


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0.05, 50.0))
def test_a_score_lies_between_the_lowest_head_and_the_mean(heads: list[float], b: float) -> None:
    lowered = float(caution(torch.tensor([heads], dtype=torch.float64), b)[0])
    assert min(heads) - 1e-6 <= lowered <= sum(heads) / len(heads) + 1e-6


def test_two_heads_one_apart_are_lowered_by_what_one_computes_by_hand() -> None:
    lowered = float(caution(torch.tensor([[-0.5, 0.5]]), 1.0)[0])
    assert lowered == pytest.approx(-math.log(math.cosh(0.5)), abs=1e-6)


def test_heads_disagree_the_more_the_less_a_reply_is_like_those_that_were_voted_on(
    tmp_path: Path,
) -> None:
    model = train(tiny.llama(tmp_path / "base"), tmp_path)
    known = [row.completion_a for row in world.preferences(60) if not row.held_out]
    rng = random.Random(1)
    letters = ["".join(rng.choice("#@0123456789{}xqz") for _ in range(30)) for _ in known]
    assert disagreement(model, letters) > 1.5 * disagreement(model, known)


def test_heads_learn_from_bootstraps_of_the_prompts(tmp_path: Path) -> None:
    base = tiny.llama(tmp_path / "base")
    model = reward_model.new(base, pooling="root", max_length=128, device=torch.device("cpu"))
    items = reward_data.examples(world.preferences(60), model.read)
    times = np.array(list(reward_data.bootstraps(items, 5, seed=1).values()))
    assert times.sum(axis=0).tolist() == [len(times)] * 5
    assert (times == 0).any(axis=0).all() and len({*map(tuple, times.T.tolist())}) == 5


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, linear_probe=True),
        replace(CONFIG, lora=LoraConfig(r=2)),
        replace(CONFIG, early_stopping=True, slice_share=0.3),
    ],
    ids=["whole", "linear probe", "adapters", "early stopping"],
)
def test_an_ensemble_is_saved_as_it_scores_and_plain_transformers_reads_its_mean(
    tmp_path: Path, config: RewardConfig
) -> None:
    config = replace(config, pooling="last")
    model = train(tiny.llama(tmp_path / "base"), tmp_path, config)
    scores = model.score(CHATS, REPLIES)
    again = reward_model.load(tmp_path / "model")
    assert again.score(CHATS, REPLIES) == pytest.approx(scores, abs=1e-5)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    for chat, reply, score in zip(CHATS, REPLIES, scores, strict=True):
        text = again.read(chat, reply)
        with torch.no_grad():
            mean = float(plain(input_ids=torch.tensor([text.ids])).logits[0, 0])
            assert mean == pytest.approx(float(again.by_head([text]).mean()), abs=1e-4)
        assert score < mean


@pytest.mark.parametrize("architecture", [tiny.llama, trunks.bert])
def test_a_reward_model_loads_without_a_word_about_its_own_heads_and_warns_of_what_is_not_its(
    tmp_path: Path,
    architecture: Callable[[Path], Path],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(architecture(tmp_path / "base"), tmp_path, replace(CONFIG, pooling="mean"))
    # A training hears its errors alone, and it keeps its warnings from the root's handlers.
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING, "transformers")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    assert any(name.startswith("score_spread") for name in weights)

    def said_when_loaded() -> str:
        caplog.clear()
        reward_model.load(tmp_path / "model")
        return caplog.text

    assert "UNEXPECTED" not in said_when_loaded()
    save_file(weights | {"stranger.weight": torch.ones(2)}, file, metadata={"format": "pt"})
    assert "stranger.weight" in (said := said_when_loaded()) and "score_spread" not in said


def test_heads_have_one_level_on_what_they_learnt_from(tmp_path: Path) -> None:
    model = train(tiny.llama(tmp_path / "base"), tmp_path)
    items = reward_data.examples(world.preferences(60), model.read)
    texts = [text for item in items[:64] for text in item.texts]
    with torch.no_grad():
        levels = model.by_head(texts).mean(dim=0)
    assert levels.tolist() == pytest.approx([float(levels[0])] * 5, abs=1e-3)


def test_a_model_of_one_head_from_before_loads_and_is_given_more_by_a_warm_start(
    tmp_path: Path,
) -> None:
    base = tiny.llama(tmp_path / "base")
    before = train(base, tmp_path / "before", replace(CONFIG, heads=1))
    folder = tmp_path / "before" / "model"
    loaded = reward_model.load(folder)
    assert loaded.spread is None
    assert loaded.score(CHATS, REPLIES) == before.score(CHATS, REPLIES)
    warm = train(folder, tmp_path / "warm", replace(CONFIG, learning_rate=1e-9))
    read = [warm.read(*two) for two in zip(CHATS, REPLIES, strict=True)]
    with torch.no_grad():
        by_head = warm.by_head(read)
    assert by_head.shape == (8, 5) and bool((by_head.std(dim=1) > 1e-3).all())
    assert by_head.mean(dim=1).tolist() == pytest.approx(loaded.score(CHATS, REPLIES), abs=1e-3)
    alone = train(tmp_path / "warm" / "model", tmp_path / "alone", replace(CONFIG, heads=1))
    assert alone.spread is None


def test_an_encoders_own_head_stays_alone_and_the_metrics_say_so(tmp_path: Path) -> None:
    config = replace(CONFIG, max_length=96)
    told = {}
    for name, base in {"own": trunks.bert, "linear": tiny.llama}.items():
        work = Work.in_folder(tmp_path / name, silent=True, threads=1)
        told[name] = reward_training.train(
            base(tmp_path / f"{name}-base"),
            world.preferences(60),
            config,
            tmp_path / name / "model",
            work,
        )[1]["heads"]
    assert told == {"own": 1.0, "linear": 5.0}


def test_the_judge_has_one_head_because_nothing_climbs_its_score(tmp_path: Path) -> None:
    work = Work.in_folder(tmp_path, silent=True, threads=1)
    base = str(tiny.llama(tmp_path / "base"))
    config = replace(CONFIG, folds=0)
    model_and_judge.fit_rewards(base, world.preferences(60), config, tmp_path, work)
    heads = [reward_model.load(tmp_path / name).spread is not None for name in ("model", "judge")]
    assert heads == [True, False]


def test_a_judge_learns_on_the_trunk_of_another_model_and_its_metrics_and_gate_say_on_which(
    tmp_path: Path,
) -> None:
    base, other = tiny.llama(tmp_path / "base"), trunks.bert(tmp_path / "other")
    kinds, told, words = {}, {}, {}
    for name, judge_base in {"same": "", "apart": str(other)}.items():
        out = tmp_path / name
        work = Work.in_folder(out, silent=True, threads=1)
        config = replace(CONFIG, folds=0, max_length=96, judge_base=judge_base)
        metrics = model_and_judge.fit_rewards(str(base), world.preferences(60), config, out, work)
        told[name] = metrics["judge_trunk_apart"]
        kinds[name] = reward_model.load(out / "judge").classifier.config.model_type
        (gate,) = (
            g for g in gates({"train_reward": metrics}, GateConfig()) if g.name == "win_rate"
        )
        words[name] = "on the same trunk" in gate.text
    assert kinds == {"same": "llama", "apart": "bert"}
    assert told == {"same": 0.0, "apart": 1.0}
    assert words == {"same": True, "apart": False}


def test_no_head_and_no_temperature_are_refused() -> None:
    for wrong in ({"heads": 0}, {"heads_temperature": 0.0}):
        with pytest.raises(ConfigError, match="heads"):
            RewardConfig(**wrong)


def test_a_prior_around_a_point_is_what_a_head_without_votes_stays_at() -> None:
    around = np.array([1.0, -2.0])
    x = np.array([[3.0, 0.0]])  # nothing is said of the second feature
    head = preference_head.fit(x, np.array([1.0]), precision=1.0, around=around)
    assert head.mean[1] == pytest.approx(-2.0) and head.mean[0] > 1.0
    shifted = preference_head.fit(x, np.array([1.0]), precision=1.0)
    assert shifted.mean[0] < head.mean[0]
