"""The documented command of every recipe, with tiny models of the same architecture."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import GPTNeoConfig, GPTNeoForCausalLM

from tests.training.rlhf import tiny, trunks, world
from tests.training.rlhf.data.test_data_files import write
from tests.training.rlhf.data.test_reddit import reddit_dump
from tests.training.rlhf.reward.test_reward_command import dialogues, pairs, scores
from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.config import SFTJob
from training.rlhf.language import lora_adapters
from training.rlhf.pipeline import recipe as pipeline
from training.rlhf.reward import reward_model
from training.rlhf.run.run_directory import DONE

ROOT = Path(__file__).resolve().parents[4]
RECIPES = ROOT / "training" / "rlhf" / "recipes"
DOCUMENTED = re.findall(
    r"^python -m training\.rlhf (recipe training\S+ --out runs/\w+.*)$",
    (ROOT / "docs" / "recipes.md").read_text("utf-8"),
    re.MULTILINE,
)
PPO = {"updates": 2, "batch_size": 8, "minibatch_size": 8, "max_new_tokens": 8}
GROUPS = {"updates": 2, "batch_size": 8, "minibatch_size": 8, "max_new_tokens": 8}
PAIRS = {"batch_size": 8, "max_length": 96}


def documented(name: str) -> list[str]:
    """The arguments that the documents give for a recipe, its path made absolute."""
    (line,) = [line for line in DOCUMENTED if f"/{name}.yaml" in line]
    return [
        str(ROOT / word) if word.startswith("training/") else word for word in shlex.split(line)
    ]


def quickly(name: str, **folders: Path) -> list[str]:
    """Changes that make a recipe small: tiny models, and few steps of every phase."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text("utf-8"))
    assert set(folders) == set(recipe["models"])
    found = {f"models.{key}": value for key, value in folders.items()}
    for phase, settings in recipe["phases"].items():
        for section, small in QUICK.items():
            if section in settings:
                found |= {f"phases.{phase}.{section}.{key}": v for key, v in small.items()}
    return ["--set", *(f"{key}={value}" for key, value in found.items()), "threads=1", "device=cpu"]


QUICK: dict[str, dict[str, Any]] = {
    "reward": {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3},
    # Fast enough that two updates change what is written.
    "ppo": PPO | {"gradient_accumulation": 1, "max_prompt_length": 64, "learning_rate": 0.02},
    "groups": GROUPS | {"max_prompt_length": 64},
    "pairs": PAIRS | {"gradient_accumulation": 1},
    # Hot enough that untrained models write something.
    "evaluate": {"max_new_tokens": 8, "prompts": 8, "resamples": 50, "temperature": 2.0},
    "sft": {"epochs": 1, "batch_size": 16, "gradient_accumulation": 1, "max_length": 64},
}


def examples() -> list[dict[str, Any]]:
    return [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs()]


def run(name: str, *more: str, **folders: Path) -> Path:
    """Run a recipe as documented, but small; its folder."""
    arguments = [*documented(name), *quickly(name, **folders), *more]
    assert main(arguments) == DONE
    return Path(arguments[arguments.index("--out") + 1])


def metrics(out: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((out / "summary.json").read_text())
    return found


def card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the code on a model's card computes."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    found: dict[str, Any] = {}
    with monkeypatch.context() as inside:
        inside.chdir(folder.parent)
        exec(code, found)  # noqa: S102  # the card's code is what is tested
    return found


def check_cards(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every saved part loads by the code on its card, and reward models score as ours do."""
    assert len(list(saved.iterdir())) > 1
    for part in saved.iterdir():
        if part.is_dir():
            assert re.search(r"Made by `\w+`:\n\n\| metric ", (part / "README.md").read_text())
            found = card(part, monkeypatch)
            if "score" in found:
                chat = [{"role": "user", "content": found["prompt"]}]
                (ours,) = reward_model.load(part).score([chat], [found["reply"]])
                assert found["score"] == pytest.approx(ours, abs=1e-5)
            else:
                assert isinstance(found["reply"], str) and found["written"].shape[1] > 1


def test_every_recipe_is_documented_and_names_models_of_the_hub() -> None:
    files = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    assert sorted(Path(line.split()[1]).stem for line in DOCUMENTED) == files
    for name in files:
        recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text("utf-8"))
        assert all(re.fullmatch(r"[\w-]+/[\w.-]+", path) for path in recipe["models"].values())
        assert pipeline.load(RECIPES / f"{name}.yaml", Path("out"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_test_prompts(path: Path) -> None:
    asked = [{"prompt": p.messages[0]["content"]} for p in world.prompts(6)]
    write(path, [row | {"tags": [("toxic", "adversarial")[i % 2]]} for i, row in enumerate(asked)])


@pytest.mark.parametrize("word", ["ppo", "dpo", "grpo"])
def test_the_textbook_pipeline(word: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "pairs.json", pairs())
    write_test_prompts(here / "test_prompts.json")
    change = [] if word == "ppo" else ["--set", f"phases.policy.command={word}"]
    out = run("textbook", *change, policy=tiny.smollm2(here / "base"))
    found = metrics(out)
    assert found["reward_model"]["accuracy"] > 0.5 and found["comparison"]["prompts"] == 6
    table = json.loads((out / "comparison" / "comparison.json").read_text())
    assert set(table["groups"]) >= {"toxic", "adversarial"}
    assert (out / "comparison" / "report.html").exists()
    check_cards(out / "saved", monkeypatch)


@pytest.mark.parametrize("word", ["ppo", "dpo", "kto", "orpo", "rloo", "grpo"])
def test_the_textbook_pipeline_takes_every_optimiser_for_one_word(word: str) -> None:
    phases = pipeline.load(
        RECIPES / "textbook.yaml", Path("out"), [f"phases.policy.command={word}"]
    )
    assert [phase.command for phase in phases] == ["reward", word, "compare", "save"]


def test_the_hh_rlhf_pipeline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "hh.jsonl", dialogues())
    data = ["--set", "data.pairs=hh.jsonl", "held_out_share=0.3", "phases.ppo_short.ppo.updates=1"]
    out = run("hh_rlhf", *data, policy=trunks.gpt_neo(here / "base"))
    found = metrics(out)
    # Queries and values of the tiny model's two layers: 2 x 2 x 8 x (32 + 32).
    assert found["sft"]["parameters_trained"] == 2048 and found["sft"]["loss_held_out"] > 0
    assert found["ppo_short"]["updates"] == 1 and found["ppo"]["updates"] == 2
    tracked = {key.partition(".")[2] for key in found["comparison"] if key.startswith("ppo.")}
    assert len(tracked) >= 10 and "score_judge" in tracked
    chosen = {key: value for key, value in found["selection"].items() if "chosen" in key}
    assert sum(chosen.values()) == 1 and len(chosen) == 3
    check_cards(out / "saved", monkeypatch)
    assert {path.name for path in (out / "saved").iterdir() if path.is_dir()} == {
        "sft",
        "reward_model",
        "ppo",
        "best",
    }


def test_the_hh_rlhf_pipeline_trains_294_912_weights_of_gpt_neo_125m() -> None:
    phase = pipeline.load(RECIPES / "hh_rlhf.yaml", Path("out"))[0]
    assert isinstance(phase.config, SFTJob) and phase.config.sft.model.lora is not None
    with torch.device("meta"):
        model = GPTNeoForCausalLM(
            GPTNeoConfig(
                hidden_size=768,
                num_layers=12,
                num_heads=12,
                attention_types=[[["global", "local"], 6]],
            )
        )
        adapted = lora_adapters.new_adapter(model, phase.config.sft.model.lora, base="base")
    assert 125e6 < adapted.num_parameters() < 126e6
    assert adapted.num_parameters(only_trainable=True) == 294_912


@pytest.mark.parametrize("loss", ["regression", "bradley_terry"])
def test_the_flan_t5_pipeline(loss: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "examples.json", examples())
    write(here / "scores.csv", scores())
    write(here / "pairs.json", pairs())
    ranking = [
        "phases.reward_model.preferences=pairs.json",
        "phases.reward_model.reward.loss=bradley_terry",
    ]
    options = [] if loss == "regression" else ["--set", *ranking, "--only", "sft", "reward_model"]
    out = run("flan_t5", *options, policy=tiny.t5(here / "base", tied=False))
    found = metrics(out)
    if loss == "bradley_terry":
        assert set(found) == {"sft", "reward_model"} and "auc" in found["reward_model"]
        return
    assert math.isfinite(found["reward_model"]["rmse"])
    assert found["judged"]["replies"] == len(examples())
    assert {"ppo.rougeL", "ppo.bleu"} <= set(found["comparison"]), sorted(found["comparison"])
    asked = [data for _, data in rows.read_json(out / "questions" / "pairs.jsonl")]
    assert len(asked) == found["questions"]["pairs"] > 0
    assert set(asked[0]) == {"prompt", "completion_a", "completion_b", "tags"}
    check_cards(out / "saved", monkeypatch)


def test_the_gpt2_pipeline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "chats.jsonl", examples())
    write(here / "pairs.jsonl", pairs())
    # As wide as a block of quantised weights.
    out = run("gpt2", policy=trunks.gpt2_base(here / "base", width=64))
    found = metrics(out)
    full, part = found["sft"], found["sft_peft"]
    assert part["weights_mb"] < full["weights_mb"]
    for cost in ("parameters_trained", "optimiser_mb"):
        assert part[cost] < full[cost] / 2
    report = (out / "README.md").read_text()
    trade_off = report[report.index("## sft: side by side") :]
    for cost in ("parameters_trained", "optimiser_mb", "seconds", "loss_held_out"):
        assert f"| {cost} | {full[cost]:.4g} | {part[cost]:.4g} |" in trade_off
    for model in ("base", "sft", "sft_peft", "ppo"):
        for measure in ("rouge1", "rouge2", "rougeL", "score_reward"):
            assert math.isfinite(found["comparison"][f"{model}.{measure}"])
    check_cards(out / "saved", monkeypatch)


def test_the_reddit_pipeline(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reddit_dump(here, posts=24)
    data = ["data.submissions=RS.jsonl", "data.comments=RC.jsonl", "held_out_share=0.3"]
    built = {"reward": trunks.distilbert(here / "rm"), "policy": trunks.gpt2_base(here / "base")}
    out = run("reddit", "--set", *data, "phases.pairs.reddit.min_characters=5", **built)
    found = metrics(out)
    assert found["pairs"]["pairs"] >= 24
    assert {"auc", "accuracy"} <= set(found["reward_model"])
    assert 0 <= found["success"]["success_with_rlhf"] <= 1
    assert found["success"]["success_without_rlhf"] <= 0.5
    check_cards(out / "saved", monkeypatch)
