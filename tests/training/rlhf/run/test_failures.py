"""What goes wrong in practice: one sentence that says what to do, nothing lost, and a way on."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.rlhf import tiny, world
from tests.training.rlhf.pipeline.test_commands import assert_equal_runs
from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.completions.openai_endpoint import EndpointError
from training.rlhf.config import ConfigError, GateConfig
from training.rlhf.language.chat_template import NoChatTemplate
from training.rlhf.ppo.ppo_checkpoints import OtherSettings
from training.rlhf.round import RunDirectory, gates, run_round
from training.rlhf.rows import RowError
from training.rlhf.run import failures
from training.rlhf.run.failures import Diverged, ModelError, OutOfMemory
from training.rlhf.run.run_directory import DONE, USAGE

BASE: dict[str, Any] = {"threads": 1, "device": "cpu"}
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.starter(tmp_path_factory.mktemp("starter") / "model")


def run_command(folder: Path, command: str, config: dict[str, Any] | str) -> int:
    folder.mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(BASE | config)
    (folder / "config.yaml").write_text(text)
    return main([command, "--config", str(folder / "config.yaml"), "--out", str(folder / "out")])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What the person reads: the last line, which has to be an error and no traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    last = text.strip().splitlines()[-1]
    assert last.startswith("error: ")
    return last


@contextmanager
def full_disk(*, after: int) -> Iterator[None]:
    """No file can grow beyond `after` bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def exhausted(chats: list[Any], replies: list[str]) -> list[float]:
    """A score function that asks the GPU for more than there is."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_full_disk_fails_the_round_keeps_its_checkpoint_and_costs_no_result(
    tmp_path: Path, starter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = world.run_directory(tmp_path / "whole", starter)
    run_round(whole)
    path = world.run_directory(tmp_path / "run", starter)
    run = RunDirectory(path)
    fills = full_disk(after=60_000)

    def watch(line: dict[str, Any]) -> None:
        if line["stage"] == "train_reward" and line["step"] == 3:
            fills.__enter__()  # after the checkpoint of step 2

    run.listener = watch
    with pytest.raises(Exception, match=r"File too large|unexpected pos"):
        run_round(run)
    fills.__exit__(None, None, None)
    error = RunDirectory(path).error()
    assert error is not None and error["stage"] == "train_reward"
    assert error["error"].startswith("no room to write: the disk is full")
    kept = sorted(p.name for p in run.checkpoints("train_reward").joinpath("model").iterdir())
    assert kept == ["step-00000002"], "and no half of another"
    assert not any(run.done(name) for name in ("train_reward", "train_policy"))
    assert main(["round", str(path)]) == DONE
    assert_equal_runs(path, whole)


@pytest.mark.parametrize("command", ["sft", "dpo"])
def test_a_full_disk_is_one_sentence_from_trls_trainers_too(
    tmp_path: Path, starter: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "good"}]
    (tmp_path / "chats.jsonl").write_text((json.dumps({"messages": turns}) + "\n") * 8)
    rows.write(tmp_path / "votes.jsonl", world.preferences(8))
    small = {"batch_size": 4, "max_length": 64, "checkpoint_every": 1}
    sft = small | {"data": str(tmp_path / "chats.jsonl"), "model": {"path": str(starter)}}
    config = {
        "sft": {"sft": sft | {"epochs": 1.0}},
        "dpo": {"starter": str(starter), "preferences": str(tmp_path / "votes.jsonl")}
        | {"pairs": small},
    }[command]
    with full_disk(after=60_000):
        assert run_command(tmp_path / "run", command, config) == USAGE
    assert "no room to write: the disk is full" in told(capsys)
    assert not (tmp_path / "run" / "out").exists()
    assert not list((tmp_path / "run" / "checkpoints").rglob("checkpoint-*")), "and no half of one"
    assert run_command(tmp_path / "run", command, config) == DONE


@pytest.mark.parametrize("command", ["ppo", "rloo"])
def test_memory_that_runs_out_says_what_to_lower(
    tmp_path: Path, starter: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write(tmp_path / "prompts.jsonl", world.prompts())
    config = {
        "starter": str(starter),
        "prompts": str(tmp_path / "prompts.jsonl"),
        "reward_function": f"{__name__}:exhausted",
        "ppo": world.CONFIG["ppo"],
        "groups": {"batch_size": 4, "minibatch_size": 4, "max_new_tokens": 4},
    }
    assert run_command(tmp_path / "run", command, config) == USAGE
    assert "out of memory: " in (last := told(capsys)) and "lower" in last and "batch" in last
    assert not (tmp_path / "run" / "out").exists()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory"), "lower"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out of memory: "),
        (MemoryError(), "out of memory: lower the batch size"),
        (OSError(28, "No space left on device", "x"), "the disk is full"),
        (PermissionError(13, "Permission denied", "/models/x"), "/models/x: Permission denied"),
        (RuntimeError("shapes differ"), None),
        (KeyError("x"), None),
    ],
)
def test_only_what_a_person_can_mend_is_told_without_a_traceback(
    error: Exception, sentence: str | None
) -> None:
    found = failures.sentence(error)
    assert found is None if sentence is None else found is not None and sentence in found
    assert failures.describe(error)


@pytest.mark.parametrize(
    "kind",
    [
        ConfigError,
        Diverged,
        EndpointError,
        ModelError,
        NoChatTemplate,
        OtherSettings,
        OutOfMemory,
        RowError,
    ],
)
def test_the_engines_own_errors_say_everything_themselves(kind: type[Exception]) -> None:
    assert failures.sentence(kind("what to do")) == failures.describe(kind("what to do"))


def damaged(folder: Path, how: str) -> str:
    """A model folder that something happened to."""
    tiny.llama(folder)
    weights, words = folder / "model.safetensors", folder / "tokenizer.json"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    elif how == "garbage":
        weights.write_bytes(b"garbage" * 99)
    elif how == "no weights":
        weights.unlink()
    elif how == "config":
        (folder / "config.json").write_text("{")
    elif how == "tokenizer":
        words.write_text("{}")
    return str(folder)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "its weights are damaged"),
        ("garbage", "its weights are damaged"),
        ("no weights", "model.safetensors"),
        ("config", "config.json"),
        ("tokenizer", "cannot be loaded as a tokenizer"),
    ],
)
def test_a_damaged_model_is_named_with_what_is_wrong(
    tmp_path: Path, how: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write(tmp_path / "prompts.jsonl", world.prompts())
    folder = damaged(tmp_path / "model", how)
    config = {"policy": folder, "prompts": str(tmp_path / "prompts.jsonl")}
    assert run_command(tmp_path / "run", "sample", config) == USAGE
    assert folder in (last := told(capsys)) and message in last


def test_a_starter_without_a_chat_template_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.llama(tmp_path / "model")
    tiny.tokenizer(template=None).save_pretrained(str(folder))
    (folder / "chat_template.jinja").unlink()
    run = RunDirectory(world.run_directory(tmp_path / "run", folder))
    assert main(["round", str(run.path)]) == USAGE
    assert "has no chat template: choose an instruction-tuned model" in told(capsys)
    assert not run.metrics()


def test_without_a_network_a_hub_id_is_named(
    tmp_path: Path, starter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write(tmp_path / "prompts.jsonl", world.prompts())
    rows.write(tmp_path / "votes.jsonl", world.preferences(8))
    sample = {"policy": HUB_ID, "prompts": str(tmp_path / "prompts.jsonl")}
    reward = {"starter": "distilbert-base-uncased", "preferences": str(tmp_path / "votes.jsonl")}
    for command, config in (("sample", sample), ("reward", reward)):
        assert run_command(tmp_path / command, command, config) == USAGE
        assert "no folder here, and not in reach as a hub id" in told(capsys)


def test_a_config_that_is_no_yaml_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(tmp_path / "run", "reward", "reward: [1,\n  x: :\n") == USAGE
    assert "config.yaml" in told(capsys)


@pytest.mark.parametrize("command", ["ppo", "grpo"])
@pytest.mark.parametrize(
    ("held_out", "message"),
    [(True, "there is no prompt to train on"), (None, "prompts.jsonl holds no prompts")],
)
def test_prompts_of_which_none_may_be_trained_on_are_refused(
    tmp_path: Path,
    starter: Path,
    command: str,
    held_out: bool | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = [] if held_out is None else [p for p in world.prompts() if p.held_out]
    rows.write(tmp_path / "prompts.jsonl", asked)
    config = {"starter": str(starter), "prompts": str(tmp_path / "prompts.jsonl")}
    config |= {"reward_function": f"{__name__}:exhausted"}
    assert run_command(tmp_path / "run", command, config) == USAGE
    assert message in told(capsys)


def test_a_model_that_never_stops_passes_no_gate(tmp_path: Path) -> None:
    """An encoder-decoder, so that a whole round of one is run."""
    starter = tiny.t5(tmp_path / "starter", tied=False)
    run = RunDirectory(world.run_directory(tmp_path / "run", starter))
    run_round(run)
    metas = {name: (run.stage_meta(name) or {}) for name in ("train_reward", "evaluate", "sample")}
    assert metas["sample"]["metrics"]["finished_rate"] == 0.0
    found = {g.name: g for g in gates({k: m["metrics"] for k, m in metas.items()}, GateConfig())}
    assert not found["broken"].passed and found["broken"].value == 1.0
    assert run.done("propose")
