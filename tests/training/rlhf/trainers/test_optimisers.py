"""The way a policy learns is one word: of the command line, or of a round's config."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.training.rlhf import world
from training.rlhf import config, rows
from training.rlhf.__main__ import main
from training.rlhf.config import RoundConfig
from training.rlhf.language import pretrained
from training.rlhf.reward import reward_model
from training.rlhf.round import STAGES, run_stage
from training.rlhf.run.run_directory import DONE, USAGE, RunDirectory
from training.rlhf.run.work import Work


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A starter, a reward model, prompts, votes, and one file of settings for everything."""
    path = tmp_path_factory.mktemp("optimisers")
    starter = world.starter(path / "starter")
    torch.manual_seed(0)
    model = reward_model.new(starter, pooling="last", max_length=96, device=torch.device("cpu"))
    model.save(path / "reward")
    rows.write(path / "prompts.jsonl", world.prompts())
    rows.write(path / "preferences.jsonl", world.preferences(8))
    short = {"updates": 1, "batch_size": 4, "minibatch_size": 4, "max_new_tokens": 4}
    settings = {
        "starter": str(starter),
        "reward_model": str(path / "reward"),
        "prompts": str(path / "prompts.jsonl"),
        "preferences": str(path / "preferences.jsonl"),
        "threads": 1,
        "device": "cpu",
        "ppo": short,
        "groups": short,
        "pairs": {"batch_size": 4, "max_length": 96},
    }
    (path / "policy.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    return path


@pytest.mark.parametrize("optimiser", ["ppo", "dpo", "kto", "orpo", "rloo", "grpo"])
def test_one_file_serves_every_optimiser(optimiser, folder, tmp_path):
    out = tmp_path / optimiser
    assert main([optimiser, "--config", str(folder / "policy.yaml"), "--out", str(out)]) == DONE
    pretrained.load_causal(out / "model")
    run = RunDirectory(tmp_path)
    assert run.metrics()[-1]["stage"] == optimiser
    meta = run.stage_meta(optimiser)
    assert meta is not None
    assert meta["parents"]["starter"] == str(folder / "starter")


def test_what_a_file_lacks_is_named(folder, tmp_path, capsys):
    settings = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    del settings["preferences"]
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    arguments = ["dpo", "--config", str(tmp_path / "policy.yaml"), "--out", str(tmp_path / "out")]
    assert main(arguments) == USAGE
    assert "the config file needs preferences" in capsys.readouterr().err


def shortest(chats: list[Any], replies: list[str]) -> list[float]:
    """A rule in Python instead of a reward model."""
    return [-float(len(reply)) for reply in replies]


def run_with(folder: Path, out: Path, optimiser: str, **changes: Any) -> int:
    settings = yaml.safe_load((folder / "policy.yaml").read_text("utf-8")) | changes
    (out / "policy.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    return main([optimiser, "--config", str(out / "policy.yaml"), "--out", str(out / "policy")])


@pytest.mark.parametrize("optimiser", ["ppo", "rloo"])
def test_a_python_function_may_be_the_reward(optimiser, folder, tmp_path):
    rule = f"{__name__}:shortest"
    assert run_with(folder, tmp_path, optimiser, reward_model="", reward_function=rule) == DONE
    assert RunDirectory(tmp_path).metrics()[-1]["reward"] < 0


@pytest.mark.parametrize("optimiser", ["rloo", "grpo"])
def test_a_minibatch_may_be_read_in_several_passes(optimiser, folder, tmp_path):
    settings = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))["groups"]
    rules = {f"{__name__}:shortest": 0.5}
    changes = {"groups": settings | {"gradient_accumulation": 2}, "reward_functions": rules}
    assert run_with(folder, tmp_path, optimiser, **changes) == DONE
    run = RunDirectory(tmp_path)
    assert [line["step"] for line in run.metrics()] == [*range(1, settings["updates"] + 1)]
    assert run.metrics()[-1]["seconds"] > 0
    kept = (tmp_path / "policy" / "rollouts.jsonl").read_text().splitlines()
    assert len(kept) >= settings["updates"]


def test_several_reward_models_are_joined_less_where_they_disagree(folder, tmp_path):
    torch.manual_seed(1)
    other = reward_model.load(folder / "reward")
    assert isinstance(other.head, torch.nn.Linear)
    torch.nn.init.normal_(other.head.weight)
    other.save(tmp_path / "other")
    found = []
    for disagreement in (0.0, 1.0):
        out = tmp_path / str(disagreement)
        out.mkdir()
        more = {"reward_models": [str(tmp_path / "other")], "disagreement": disagreement}
        assert run_with(folder, out, "ppo", **more) == DONE
        found.append(RunDirectory(out).metrics()[-1]["reward"])
        meta = RunDirectory(out).stage_meta("policy")
        assert meta is not None
        assert meta["parents"]["reward_models.1"] == str(tmp_path / "other")
    assert found[1] < found[0]


@pytest.mark.parametrize("optimiser", ["ppo", "rloo"])
def test_a_reward_model_that_was_replaced_is_not_mixed_with_the_one_before(
    optimiser, folder, tmp_path, capsys
):
    settings = yaml.safe_load((folder / "policy.yaml").read_text("utf-8"))
    settings["reward_model"] = str(shutil.copytree(folder / "reward", tmp_path / "reward"))
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump(settings), "utf-8")
    command = [optimiser, "--config", str(file), "--out", str(tmp_path / "out")]
    assert main(command) == DONE
    shutil.rmtree(tmp_path / "out")  # what a run killed at its end leaves: checkpoints alone
    assert main(command) == DONE
    shutil.rmtree(tmp_path / "out")
    model = reward_model.load(tmp_path / "reward", device=torch.device("cpu"))
    with torch.no_grad():
        model.head.weight.add_(1.0)
    model.save(tmp_path / "reward")
    assert main(command) == USAGE
    assert re.search("differs in score|of other settings, data, models", capsys.readouterr().err)


def test_a_file_with_two_kinds_of_reward_is_refused(folder, tmp_path, capsys):
    rule = f"{__name__}:shortest"
    assert run_with(folder, tmp_path, "ppo", reward_function=rule) == USAGE
    assert "reward_model or reward_function, and not both" in capsys.readouterr().err


def test_the_optimiser_of_a_round_is_one_word_of_its_config(folder, tmp_path):
    pairs = {"batch_size": 4, "max_length": 96}
    path = world.run_directory(tmp_path / "run", folder / "starter", optimiser="orpo", pairs=pairs)
    run, settings = RunDirectory(path), config.load(RoundConfig, path / "config.json")
    stage = next(stage for stage in STAGES if stage.name == "train_policy")
    with run.claim():
        run_stage(run, stage, settings)
    pretrained.load_causal(run.folder("train_policy") / "model")
    meta = run.stage_meta("train_policy")
    assert meta is not None
    assert meta["metrics"]["pairs"] > 0
    assert "reward" not in meta["parents"]


def keep(
    policy: str,
    reference: str,
    preferences: list[rows.Preference],
    settings: config.PairsConfig,
    out: Path,
    work: Work,
) -> dict[str, float]:
    """The simplest optimiser: it copies the policy."""
    shutil.copytree(policy, out)
    work.report(1, 1, {"loss": 0.5})
    return {"pairs": float(len(preferences))}


def test_an_optimiser_is_one_function_and_one_line(folder, tmp_path, monkeypatch):
    added = config.Optimiser(f"{__name__}:keep", "preferences", "pairs", "copy the policy")
    monkeypatch.setitem(config.OPTIMISERS, "keep", added)
    path = world.run_directory(tmp_path / "run", folder / "starter", optimiser="keep")
    run, settings = RunDirectory(path), config.load(RoundConfig, path / "config.json")
    stage = next(stage for stage in STAGES if stage.name == "train_policy")
    with run.claim():
        run_stage(run, stage, settings)
    pretrained.load_causal(run.folder("train_policy") / "model")
    assert run.stage_meta("train_policy")["metrics"]["pairs"] > 0
    with pytest.raises(config.ConfigError, match=r"one of ppo, dpo, kto, orpo, rloo, grpo, keep"):
        RoundConfig(optimiser="magic")
