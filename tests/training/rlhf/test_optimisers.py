"""The way a policy learns is one word: of the command line, or of a round's config."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from tests.training.rlhf import world
from training.rlhf import config, models, reward_model, rows
from training.rlhf.__main__ import main
from training.rlhf.config import RoundConfig
from training.rlhf.round import STAGES, run_stage
from training.rlhf.rundir import DONE, USAGE, RunDirectory


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
    models.load_causal(out / "model")
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


def test_the_optimiser_of_a_round_is_one_word_of_its_config(folder, tmp_path):
    pairs = {"batch_size": 4, "max_length": 96}
    path = world.run_directory(tmp_path / "run", folder / "starter", optimiser="orpo", pairs=pairs)
    run, settings = RunDirectory(path), config.load(RoundConfig, path / "config.json")
    stage = next(stage for stage in STAGES if stage.name == "train_policy")
    with run.claim():
        run_stage(run, stage, settings)
    models.load_causal(run.folder("train_policy") / "model")
    meta = run.stage_meta("train_policy")
    assert meta is not None
    assert meta["metrics"]["pairs"] > 0
    assert "reward" not in meta["parents"]
