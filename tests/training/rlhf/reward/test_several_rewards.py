"""Rules that score replies: several at once with weights, by the columns of a prompt's row, and
beside reward models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from training.rlhf.config import GroupConfig
from training.rlhf.data import data_files
from training.rlhf.pipeline import policy_reward
from training.rlhf.pipeline.policy_reward import Rewards
from training.rlhf.rows import Prompt
from training.rlhf.run.work import Work

NAME = __name__


def short(chats: Sequence[Any], replies: Sequence[str]) -> list[float]:
    return [-float(len(reply)) for reply in replies]


def names_the_answer(
    chats: Sequence[Any], replies: Sequence[str], *, columns: Sequence[dict[str, Any]]
) -> list[float]:
    return [float(row["answer"] in text) for row, text in zip(columns, replies, strict=True)]


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    rows = [
        {"prompt": "2 + 2?", "answer": "4", "level": 1},
        {"prompt": "3 + 4?", "answer": "7", "reference": "Seven.", "tags": ["sum"]},
    ]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data_files.prompts(file, held_out_share=0.0)


def scores(prompts: list[Prompt], tmp_path: Path, **functions: float) -> list[float]:
    """What these rules say of one reply to each prompt."""
    rewards = Rewards((), functions={f"{NAME}:{name}": w for name, w in functions.items()})
    work = Work.in_folder(tmp_path, silent=True)
    score, scale, _ = policy_reward.score_of(work, rewards, "", prompts, GroupConfig())
    assert (scale.mean, scale.deviation) == (0.0, 1.0)
    return score([prompt.messages for prompt in prompts], ["It is 4.", "It is 9."])


def test_a_rule_reads_the_columns_of_the_prompts_row(prompts: list[Prompt], tmp_path: Path) -> None:
    assert [prompt.columns for prompt in prompts] == [
        {"answer": "4", "level": 1},
        {"answer": "7"},
    ]
    assert scores(prompts, tmp_path, names_the_answer=1.0) == [1.0, 0.0]


def test_several_rules_are_added_by_their_weights(prompts: list[Prompt], tmp_path: Path) -> None:
    both = scores(prompts, tmp_path, names_the_answer=10.0, short=0.5)
    assert both == [10.0 - 4.0, -4.0]


def test_a_rule_is_told_of_references_and_tags(prompts: list[Prompt], tmp_path: Path) -> None:
    assert scores(prompts, tmp_path, reference_and_tags=1.0) == [0.0, 2.0]


def reference_and_tags(
    chats: Sequence[Any], replies: Sequence[str], *, columns: Sequence[dict[str, Any]]
) -> list[float]:
    return [float(bool(row["reference"])) + len(row["tags"]) for row in columns]
