"""What goes wrong while training, tried with every trainer: one sentence, nothing half done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.training.rlhf import tiny, world
from tests.training.rlhf.run.test_failures import run_command, told
from training.rlhf import rows
from training.rlhf.rows import Prompt
from training.rlhf.run.run_directory import DONE, USAGE, RunDirectory

FROM_PAIRS = ("dpo", "kto", "orpo")
SAMPLING = ("ppo", "rloo", "grpo")
TRAINERS = ("sft", "reward", *FROM_PAIRS, *SAMPLING)

pytestmark = pytest.mark.usefixtures("one_thread")


def shortness(chats: list[Any], replies: list[str]) -> list[float]:
    return [-float(len(reply)) for reply in replies]


def job(
    folder: Path, starter: Path, *, asked: list[Prompt] | None = None, **settings: Any
) -> dict[str, Any]:
    """A config that every trainer reads; `settings` go to its own section.

    Args:
        asked: the prompts, also of the pairs and chats.
    """
    prompts = asked or world.prompts(12)
    rows.write(folder / "prompts.jsonl", prompts)
    rows.write(folder / "votes.jsonl", world.preferences(12, asked=prompts))
    reply = {"role": "assistant", "content": "good"}
    rows.write(folder / "chats.jsonl", ({"messages": [*p.messages, reply]} for p in prompts))
    every = {"batch_size": 4} | settings
    sampled = {"minibatch_size": 4, "max_new_tokens": 4, "updates": 3} | every
    return {
        "starter": str(starter),
        "prompts": str(folder / "prompts.jsonl"),
        "preferences": str(folder / "votes.jsonl"),
        "reward_function": f"{__name__}:shortness",
        "sft": {"data": str(folder / "chats.jsonl"), "model": {"path": str(starter)}} | every,
        "reward": {"epochs": 2.0} | every,
        "pairs": every,
        "ppo": sampled,
        "groups": sampled,
    }


SECTIONS = {
    "sft": ("sft",),
    "reward": ("starter", "preferences", "reward"),
    **dict.fromkeys(FROM_PAIRS, ("starter", "preferences", "pairs")),
    **dict.fromkeys(SAMPLING, ("starter", "prompts", "reward_function", "ppo", "groups")),
}


def run(command: str, folder: Path, config: dict[str, Any]) -> int:
    return run_command(folder / "run", command, {key: config[key] for key in SECTIONS[command]})


@pytest.mark.parametrize("command", TRAINERS)
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_no_such_weights(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    starter = tiny.llama(tmp_path / "starter")
    config = job(tmp_path, starter, learning_rate=1e38, checkpoint_every=1)
    assert run(command, tmp_path, config) == USAGE
    assert "lower" in (last := told(capsys)) and "learning" in last
    assert not (tmp_path / "run" / "out").exists()
    kept = list((tmp_path / "run" / "checkpoints").rglob("*.safetensors"))
    assert all(bool(t.isfinite().all()) for file in kept for t in load_file(file).values())


@pytest.mark.parametrize("command", TRAINERS)
def test_a_prompt_longer_than_the_context_loses_its_left_and_is_counted(
    tmp_path: Path, command: str
) -> None:
    starter = tiny.write(
        tmp_path / "starter", tiny.gpt2_model(positions=40), tiny.tokenizer(pad=None)
    )
    long = [
        Prompt(
            prompt_id=f"p{i}", messages=[{"role": "user", "content": f"Where is parcel {i}? " * 20}]
        )
        for i in range(12)
    ]
    assert run(command, tmp_path, job(tmp_path, starter, asked=long)) == DONE
    meta = RunDirectory(tmp_path / "run").stage_meta("out")
    assert meta is not None
    counted = {"reward": "truncated", "sft": "truncated", **dict.fromkeys(FROM_PAIRS, "truncated")}
    assert meta["metrics"][counted.get(command, "prompts_truncated")] == len(long)


@pytest.mark.parametrize("command", [*FROM_PAIRS, *SAMPLING])
def test_a_starter_without_a_chat_template_is_refused_alike(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tiny.tokenizer(template=None)
    starter = tiny.write(tmp_path / "starter", tiny.llama_model(), words)
    assert run(command, tmp_path, job(tmp_path, starter)) == USAGE
    assert "has no chat template: choose an instruction-tuned model" in told(capsys)


@pytest.mark.parametrize("command", SAMPLING)
def test_a_context_without_room_for_a_prompt_is_refused_alike(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    starter = tiny.llama(tmp_path / "starter")
    assert run(command, tmp_path, job(tmp_path, starter, max_new_tokens=256)) == USAGE
    assert "leaves no room for a prompt in the model's context of 256 tokens" in told(capsys)
