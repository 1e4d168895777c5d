"""`recipe --check`: what would stop a later phase is told before the first one trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.training.rlhf import tiny
from training.rlhf.__main__ import main
from training.rlhf.run.run_directory import DONE, USAGE


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A starter of adapters for GPT-2, a reward model on it, and PPO on adapters for a Llama."""
    chat = {"prompt": "Hi", "completion": "Hello."}
    pair = {"prompt": "Hi", "chosen": "Hello.", "rejected": "No."}
    (tmp_path / "chats.jsonl").write_text(json.dumps(chat))
    (tmp_path / "pairs.jsonl").write_text(json.dumps(pair))
    llama = str(tiny.llama(tmp_path / "llama"))
    file = tmp_path / "recipe.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "phases": {
                    "sft": {
                        "command": "sft",
                        "sft": {
                            "model": {"path": llama, "lora": {"target_modules": ["c_attn"]}},
                            "data": str(tmp_path / "chats.jsonl"),
                        },
                    },
                    "reward": {
                        "command": "reward",
                        "starter": "${sft}/model",
                        "preferences": str(tmp_path / "pairs.jsonl"),
                    },
                    "ppo": {
                        "command": "ppo",
                        "starter": "${sft}/model",
                        "reward_model": "${reward}/model",
                        "prompts": str(tmp_path / "pairs.jsonl"),
                        "ppo": {"lora": {"target_modules": ["q_proj", "c_attn"]}},
                    },
                }
            },
            sort_keys=False,
        )
    )
    return file


def test_every_phase_says_which_layers_its_adapters_go_on(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipe", str(recipe), "--out", str(tmp_path / "out"), "--check"]) == DONE
    told = capsys.readouterr().out
    assert "sft: " in told and "adapters on all linear layers (it has no c_attn)" in told
    assert "adapters on q_proj, c_attn (it has no c_attn)" in told
    assert not (tmp_path / "out").exists(), "nothing ran"


def test_a_model_that_a_later_phase_cannot_load_is_told_at_once(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    change = f"phases.ppo.reward_model={tmp_path / 'empty'}"
    arguments = ["recipe", str(recipe), "--out", str(tmp_path / "out"), "--check", "--set", change]
    assert main(arguments) == USAGE
    assert "phase ppo: " in capsys.readouterr().err
    gone = ["--set", "phases.ppo.prompts=gone.jsonl"]
    assert main([*arguments[:5], *gone]) == USAGE
    assert "phase ppo: prompts: there is no file gone.jsonl" in capsys.readouterr().err
