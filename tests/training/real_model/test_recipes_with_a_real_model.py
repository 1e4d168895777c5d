"""Every shipped recipe with a real model in each of its places: checked here, run by test-long."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
import torch
import yaml

from tests.training.rlhf import world
from tests.training.rlhf.data.test_data_files import write
from tests.training.rlhf.data.test_reddit import reddit_dump
from tests.training.rlhf.pipeline.test_shipped_recipes import (
    RECIPES,
    documented,
    examples,
    quickly,
    write_test_prompts,
)
from tests.training.rlhf.reward.test_reward_command import dialogues, pairs, scores
from training.rlhf.__main__ import main
from training.rlhf.config import RewardConfig
from training.rlhf.reward import held_out_report, reward_model, reward_training
from training.rlhf.run.run_directory import DONE
from training.rlhf.run.work import Work

MODEL = Path(os.environ["PAIRLOOP_REAL_MODEL"])
NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))
FEW = 10
"""Rows: a tenth of a second each on a real model, in every phase."""
SHORT = {
    "hh_rlhf": ("data.pairs=hh.jsonl", "held_out_share=0.3", "phases.ppo_short.ppo.updates=1"),
    "reddit": (
        *("data.submissions=RS.jsonl", "data.comments=RC.jsonl", "held_out_share=0.3"),
        "phases.pairs.reddit.min_characters=5",
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that recipes read, by their documented names."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pairs.json", pairs(FEW))
    write(tmp_path / "pairs.jsonl", pairs(FEW))
    write(tmp_path / "examples.json", examples()[:FEW])
    write(tmp_path / "chats.jsonl", examples()[:FEW])
    write(tmp_path / "scores.csv", scores()[: 2 * FEW])
    write(tmp_path / "hh.jsonl", dialogues()[: 2 * FEW])
    write_test_prompts(tmp_path / "test_prompts.json")
    reddit_dump(tmp_path, posts=FEW)
    return tmp_path


def arguments(name: str) -> list[str]:
    places = yaml.safe_load((RECIPES / f"{name}.yaml").read_text("utf-8"))["models"]
    changes = [*quickly(name, **dict.fromkeys(places, MODEL)), *SHORT.get(name, ())]
    return [*documented(name), *changes]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_takes_a_real_model_as_its_check_says(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(name), "--check"]) == DONE
    assert "llama, 49,152 tokens" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_to_its_end_on_a_real_model(name: str, here: Path) -> None:
    asked = arguments(name)
    assert main(asked) == DONE
    out = here / asked[asked.index("--out") + 1]
    summary = json.loads((out / "summary.json").read_text())
    numbers = [value for phase in summary.values() for value in phase.values()]
    assert len(summary) > 3 and any(map(math.isfinite, numbers))
    assert any((part / "config.json").is_file() for part in (out / "saved").iterdir())


def test_a_linear_probe_on_a_real_model_knows_a_planted_rule_in_seconds(tmp_path: Path) -> None:
    config = RewardConfig(linear_probe=True, max_length=96, dtype="auto")
    model, metrics = reward_training.train(
        MODEL, world.preferences(40), config, tmp_path / "model", Work.in_folder(tmp_path)
    )
    fresh = [pair for pair in world.preferences(60, seed=9) if pair.held_out]
    seen = held_out_report.held_out(model, fresh)
    assert metrics["steps"] == 0 and seen.metrics()["accuracy"] > 0.7
    again = reward_model.load(tmp_path / "model")
    assert torch.allclose(
        torch.tensor(held_out_report.held_out(again, fresh).logits), torch.tensor(seen.logits)
    )
