"""The command `reward` on trunks of every kind, and what it says when it cannot go on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.training.rlhf import tiny, trunks, world
from tests.training.rlhf.data.test_data_files import write
from training.rlhf.__main__ import main
from training.rlhf.run.run_directory import DONE, USAGE

LORA = {"r": 8, "alpha": 16}
CONFIGS: dict[str, dict[str, Any]] = {
    "distilbert": {"learning_curve": [8, 16], "reward": {"centre": 0.0}},
    "gpt_neo": {
        "reward": {
            "margin": 0.5,
            "margin_by": "fixed",
            "pooling": "last",
            "lora": LORA | {"target_modules": ["q_proj", "v_proj"]},
        }
    },
    "smollm2": {"reward": {"pooling": "last"}},
    "t5": {"reward": {"loss": "regression", "lora": LORA | {"target_modules": ["q", "v"]}}},
}
QUICK = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "early_stopping": False}


def pairs(n: int = 48) -> list[dict[str, Any]]:
    """Rows of prompt, chosen and rejected by the planted rule."""
    return [
        {
            "prompt": p.messages[0]["content"],
            "chosen": p.completion_a if p.votes[0].choice == "a" else p.completion_b,
            "rejected": p.completion_b if p.votes[0].choice == "a" else p.completion_a,
        }
        for p in world.preferences(n)
    ]


def dialogues() -> list[dict[str, Any]]:
    return [
        {
            side: f"\n\nHuman: {p['prompt']}\n\nAssistant: {p[side]}"
            for side in ("chosen", "rejected")
        }
        for p in pairs()
    ]


def scores() -> list[dict[str, Any]]:
    return [
        {"prompt": p["prompt"], "completion": p[side], "score": score}
        for p in pairs()
        for side, score in (("chosen", 4), ("rejected", 1))
    ]


def run(
    folder: Path, model: str, changes: dict[str, Any], **settings: Any
) -> tuple[int, dict[str, Any]]:
    """Run the command with one of the configs; exit code and the metrics of its result."""
    config = CONFIGS[model] | changes
    config["reward"] = QUICK | CONFIGS[model]["reward"] | settings
    (folder / "reward.json").write_text(json.dumps(config))
    out = folder / "out"
    code = main(["reward", "--config", str(folder / "reward.json"), "--out", str(out)])
    return code, json.loads((out / "meta.json").read_text())["metrics"] if code == DONE else {}


@pytest.mark.parametrize(
    ("model", "build", "key", "file", "data"),
    [
        ("distilbert", trunks.distilbert, "preferences", "pairs.jsonl", pairs),
        ("gpt_neo", trunks.gpt_neo, "preferences", "hh.jsonl", dialogues),
        ("smollm2", tiny.smollm2, "preferences", "pairs.json", pairs),
        ("t5", trunks.t5, "ratings", "scores.csv", scores),
    ],
    ids=CONFIGS,
)
def test_a_reward_model_of_every_kind_is_trained(
    tmp_path: Path, model: str, build: Any, key: str, file: str, data: Any
) -> None:
    changes: dict[str, Any] = {
        "starter": str(build(tmp_path / "base")),
        key: str(write(tmp_path / file, data())),
    }
    code, metrics = run(tmp_path, model, changes)
    assert code == DONE
    assert metrics["pairs_held_out"] > 0 and math.isfinite(metrics["accuracy"])
    if key == "preferences":
        assert math.isfinite(metrics["auc"]) and metrics["truncated"] == 0
        assert metrics["annotators"] == 1
    else:
        assert math.isfinite(metrics["rmse"]) and metrics["ratings_train"] > 0
    assert (tmp_path / "out" / "model" / "model.safetensors").exists()
    assert (tmp_path / "out" / "judge" / "config.json").exists()
    if "learning_curve" in CONFIGS[model]:
        lines = (tmp_path / "out" / "learning_curve.jsonl").read_text().splitlines()
        curve = [json.loads(line) for line in lines]
        assert [point["votes"] for point in curve] == [8, 16, metrics["votes_train"]]
        assert curve[-1]["accuracy"] == metrics["accuracy"]
        assert all(point["low"] <= point["accuracy"] <= point["high"] for point in curve)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_curve": [4000]}, "asks for 4000 votes, and there are"),
        ({"held_out_share": 0.0}, "needs held-out pairs"),
    ],
)
def test_a_learning_curve_that_cannot_be_drawn_is_refused_before_anything_is_trained(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    base = {
        "starter": str(trunks.distilbert(tmp_path / "base")),
        "preferences": str(write(tmp_path / "pairs.jsonl", pairs())),
        "learning_curve": [8],
    }
    code, _ = run(tmp_path, "distilbert", base | changes)
    assert code == USAGE and message in capsys.readouterr().err


def test_a_warm_start_is_asked_for_by_the_starter_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {"starter": "anything", "preferences": str(write(tmp_path / "pairs.jsonl", pairs()))}
    code, _ = run(tmp_path, "smollm2", base, warm_start=True)
    assert code == USAGE and "name the earlier model as `starter`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "pairs.jsonl holds no pairs"),
        ("[]", "pairs.json holds no pairs"),
        (json.dumps([pairs(1)[0] | {"held_out": True}]), "no pair with votes"),
    ],
)
def test_a_file_without_a_pair_to_train_on_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str, message: str
) -> None:
    file = tmp_path / ("pairs.json" if data else "pairs.jsonl")
    file.write_text(data)
    base = {"starter": str(tiny.smollm2(tmp_path / "base")), "preferences": str(file)}
    code, _ = run(tmp_path, "smollm2", base)
    assert code == USAGE and message in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {
        "starter": str(tiny.smollm2(tmp_path / "base")),
        "preferences": str(write(tmp_path / "pairs.json", pairs())),
    }
    code, _ = run(tmp_path, "smollm2", base, learning_rate=1e30)
    error = capsys.readouterr().err.strip()
    assert code == USAGE and "lower reward.learning_rate" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()
