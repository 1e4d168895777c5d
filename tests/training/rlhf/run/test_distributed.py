"""Two processes against one: the same losses, one writer, one end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.training.rlhf import peers, world
from training.rlhf import rows
from training.rlhf.config import ConfigError
from training.rlhf.run import distributed
from training.rlhf.run.run_directory import RunDirectory

NAMES = ["reward", "sft", "dpo", "kto", "orpo", "ppo", "rloo", "grpo"]
PPO = {
    "updates": 3,
    "batch_size": 8,
    "minibatch_size": 4,
    "epochs": 1,
    "max_new_tokens": 8,
    "learning_rate": 1e-3,
    "kl_target": 1.0,
    "entropy_coef": 0.01,
    "whiten_rewards": True,
    "normalise_scores": True,
    "target_update_kl": None,
}
"""Everything on that is taken over a whole batch."""
GROUPS = {
    "updates": 3,
    "batch_size": 8,
    "minibatch_size": 4,
    "group_size": 4,
    "epochs": 2,
    "max_new_tokens": 8,
    "learning_rate": 1e-3,
}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def write_jobs(folder: Path) -> None:
    """Small jobs whose batches divide, and for the reward model one that does not."""
    starter = str(world.starter(folder / "starter"))
    prompts = [prompt for prompt in world.prompts(21) if not prompt.held_out]
    held_out = [prompt for prompt in world.prompts(21) if prompt.held_out]
    rows.write(folder / "prompts.jsonl", prompts)
    rows.write(folder / "pairs.jsonl", world.preferences(16, asked=prompts))
    voted = world.preferences(16, asked=prompts) + world.preferences(4, asked=held_out)
    rows.write(folder / "voted.jsonl", voted)
    chats = [
        {"messages": [*p.messages, {"role": "assistant", "content": "Sorry. " * (1 + i % 4)}]}
        for i, p in enumerate(prompts[:16])
    ]
    rows.write(folder / "chats.jsonl", chats)
    job = {"threads": 1, "device": "cpu"}
    model = {"path": starter}
    sft = {"data": str(folder / "chats.jsonl"), "batch_size": 4, "epochs": 1.0, "model": model}
    pairs = job | {"starter": starter, "preferences": str(folder / "pairs.jsonl")}
    settings = {"pairs": {"batch_size": 4, "epochs": 1.0, "learning_rate": 1e-3}}
    climb = job | {"starter": starter, "prompts": str(folder / "prompts.jsonl")}
    climb["reward_function"] = "tests.training.rlhf.peers:shortness"
    jobs: dict[str, Any] = {
        "reward": pairs
        | {"preferences": str(folder / "voted.jsonl")}
        | {"reward": {"epochs": 1.0, "batch_size": 5}},
        "sft": job | {"sft": sft | {"checkpoint_every": 1, "learning_rate": 1e-3}},
        "dpo": pairs | settings,
        "kto": pairs | settings,
        "orpo": pairs | settings,
        "ppo": climb | {"ppo": PPO},
        "rloo": climb | {"groups": GROUPS},
        "grpo": climb | {"groups": GROUPS | {"lora": {"r": 4}}},
    }
    for name, data in jobs.items():
        (folder / f"{name}.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every job done in one process and in two."""
    folder = tmp_path_factory.mktemp("peers")
    write_jobs(folder)
    for name in NAMES:
        for out in ("one", "two"):
            (folder / out / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    ranks = [peers.forked(peers.rank, number, port, folder, "two", NAMES) for number in (0, 1)]
    for process in ranks:
        process.join(900)
    said = "".join((folder / f"rank-{number}.txt").read_text() for number in (0, 1))
    assert [process.exitcode for process in ranks] == [0, 0], said[-3000:]
    assert said.count("sft 0/") <= 1  # one of them reports
    peers.run(folder, "one", NAMES)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_have_the_losses_of_one(folder: Path, name: str) -> None:
    one, two = (RunDirectory(folder / out / name).metrics() for out in ("one", "two"))
    assert len(one) == len(two) >= 3
    for alone, both in zip(one, two, strict=True):
        by_the_clock = ("time", "seconds", "tokens_per_second")
        numbers = {k: v for k, v in alone.items() if isinstance(v, float) and k not in by_the_clock}
        assert {k: both[k] for k in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_that_two_leave_is_that_of_one(folder: Path, name: str) -> None:
    files = sorted((folder / "one" / name / "result").rglob("*.safetensors"))
    assert files
    for file in files:
        alone = load_file(file)
        both = load_file(folder / "two" / file.relative_to(folder / "one"))
        assert alone.keys() == both.keys()
        for key, tensor in alone.items():
            assert both[key].sub(tensor).abs().max() < 1e-4, f"{file.name}: {key}"


def test_one_of_them_writes(folder: Path) -> None:
    for name in NAMES:
        lines = (folder / "two" / name / "progress.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps)), f"{name} reported a step twice"
        assert RunDirectory(folder / "two" / name).done("result")


@pytest.mark.long
def test_torchrun_starts_them_as_well(folder: Path) -> None:
    (folder / "torchrun" / "sft").mkdir(parents=True)
    program = ["-m", "tests.training.rlhf.peers", str(folder), "torchrun", "sft"]
    done = subprocess.run([*TORCHRUN, *program], capture_output=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert RunDirectory(folder / "torchrun" / "sft").done("result")


# What is refused


def test_a_batch_that_cannot_be_dealt_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert distributed.per_process(6, "sft.batch_size") == 2
    with pytest.raises(ConfigError, match=r"sft.batch_size 8 cannot be divided among 3 processes"):
        distributed.per_process(8, "sft.batch_size")


@pytest.mark.parametrize(("name", "said"), [("FSDP", "FSDP"), ("DEEPSPEED", "DeepSpeed")])
def test_a_trainer_that_needs_the_whole_model_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    distributed.require_whole_model("reward")
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(ConfigError, match=f"ddp.yaml instead of {said}"):
        distributed.require_whole_model("reward")
