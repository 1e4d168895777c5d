"""The checkpoint that a judge likes best is the one that is written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.rlhf import tiny
from tests.training.rlhf.ppo.test_training_loop import LORA, assert_same_weights, likes_e, train
from training.rlhf.ppo.best_checkpoint import Judge
from training.rlhf.ppo.ppo_checkpoints import OtherSettings
from training.rlhf.run import checkpoints
from training.rlhf.run.failures import Diverged
from training.rlhf.run.run_directory import Stopped

pytestmark = pytest.mark.usefixtures("one_thread")

HELD_OUT = tiny.chats(16)


def dislikes_e(chats: list[Any], replies: list[str]) -> list[float]:
    return [-score for score in likes_e(chats, replies)]


def nothing(chats: list[Any], replies: list[str]) -> list[float]:
    return [math.nan] * len(replies)


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    return tiny.llama(tmp_path / "starter", sharpness=4.0)


QUIET = {
    "alarm_distinct2_ratio": 0.0,
    "alarm_repetition_rise": 9.0,
    "alarm_perplexity_ratio": 1e9,
    "alarm_length_ratio": 1e9,
    "alarm_eos_drop": 9.0,
}
RISING = {"updates": 5, "learning_rate": 1e-2, "kl_coef": 0.0, "select_every": 2, **QUIET}


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_what_the_judge_liked_best_is_written_and_not_the_last(starter, tmp_path, lora):
    changes = RISING | {"lora": lora}
    judge = Judge(dislikes_e, HELD_OUT)
    summary, seen = train(starter, tmp_path / "judged", judge=judge, **changes)
    scores = {n: row["judge_reward"] for n, row in enumerate(seen, 1) if "judge_reward" in row}
    assert list(scores) == [2, 4, 5]
    best = max(scores, key=lambda n: scores[n])
    assert best < 5
    assert (summary["best_update"], summary["judge_reward"]) == (best, scores[best])
    train(starter, tmp_path / "short", **(changes | {"updates": best}))
    assert_same_weights(tmp_path / "judged", tmp_path / "short")


def test_a_policy_too_far_from_the_reference_is_not_picked(starter, tmp_path):
    _, seen = train(
        starter,
        tmp_path / "run",
        judge=Judge(likes_e, HELD_OUT, kl_max=-1e9),
        **RISING,
    )
    train(starter, tmp_path / "last", **RISING)
    assert seen[-1]["judge_kl"] > 0
    assert_same_weights(tmp_path / "run", tmp_path / "last")


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_kept_checkpoint_survives_a_stop(starter, tmp_path, lora):
    changes = RISING | {"lora": lora}
    judge = Judge(dislikes_e, HELD_OUT)
    whole_summary, whole = train(starter, tmp_path / "whole", judge=judge, **changes)
    with pytest.raises(Stopped):
        train(starter, tmp_path / "parts", judge=judge, stop_at=3, **changes)
    torch.manual_seed(99)
    summary, rest = train(starter, tmp_path / "parts", judge=judge, **changes)
    assert (summary, rest) == (whole_summary, whole[3:])
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")


def test_only_trained_weights_are_kept(starter, tmp_path):
    judge = Judge(likes_e, HELD_OUT)
    train(starter, tmp_path / "run", judge=judge, lora=LORA, **RISING)
    saved = checkpoints.latest(tmp_path / "run" / "checkpoints")
    assert saved is not None
    kept = [name for name in saved.tensors if name.startswith("best.policy")]
    assert kept
    assert all("lora" in name for name in kept)


def test_a_run_with_another_judge_is_refused(starter, tmp_path):
    train(
        starter,
        tmp_path / "run",
        judge=Judge(likes_e, HELD_OUT, digest="one"),
        updates=2,
    )
    with pytest.raises(OtherSettings, match="differs in judge"):
        train(
            starter,
            tmp_path / "run",
            judge=Judge(likes_e, HELD_OUT, digest="two"),
            updates=2,
        )


def test_a_judge_whose_scores_are_not_finite_ends_the_run(starter, tmp_path):
    with pytest.raises(Diverged, match="judge's score"):
        train(starter, tmp_path / "run", judge=Judge(nothing, HELD_OUT), **RISING)
