"""What OpenRLHF is handed."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.training.rlhf import world
from tests.training.rlhf.delivery import openrlhf_arguments
from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.config import LoraConfig, PPOConfig, RoundConfig, dump
from training.rlhf.data import soft_labels
from training.rlhf.delivery import openrlhf
from training.rlhf.rows import Vote
from training.rlhf.run.run_directory import DONE, USAGE

PPO = PPOConfig(learning_rate=2e-6, kl_coef=0.07, score_clip=4.0, lora=LoraConfig(r=8))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with 20 decided pairs, a tie and a blind comparison."""
    folder = tmp_path / "run"
    folder.mkdir()
    pairs = world.preferences(22)
    votes = (Vote(annotator="ann", choice="a"), Vote(annotator="ben", choice="b"))
    pairs[0] = dataclasses.replace(pairs[0], votes=votes)
    pairs[1] = dataclasses.replace(pairs[1], kind="evaluation")
    rows.write(folder / "preferences.jsonl", pairs)
    rows.write(folder / "prompts.jsonl", world.prompts(16))
    dump(RoundConfig(starter="/models/my starter", ppo=PPO), folder / "config.json")
    return folder


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_pairs_are_chats_with_the_better_reply_by_the_votes(run: Path, tmp_path: Path) -> None:
    found = openrlhf.export(run, tmp_path / "out")
    assert found == {"preferences": 15, "held_out": 5, "prompts": 12, "ties": 1}
    written = read(tmp_path / "out" / "preferences.jsonl")
    by_text = {row.completion_a + row.completion_b: row for row in world.preferences(22)}
    for pair in written:
        assert pair["prompt"][-1]["role"] == "user" and pair["margin"] == 1.0
        chosen, rejected = (pair[side][0]["content"] for side in ("chosen", "rejected"))
        row = by_text.get(chosen + rejected) or by_text[rejected + chosen]
        assert soft_labels.verdict(row) == ("a" if row.completion_a == chosen else "b")
        assert not row.held_out and row.messages == pair["prompt"]
        assert [pair[side][0]["role"] for side in ("chosen", "rejected")] == ["assistant"] * 2


def test_prompts_leave_out_those_that_only_measure(run: Path, tmp_path: Path) -> None:
    openrlhf.export(run, tmp_path / "out")
    asked = [row["messages"] for row in read(tmp_path / "out" / "prompts.jsonl")]
    assert asked == [p.messages for p in world.prompts(16) if not p.held_out]


def flags(text: str, program: str) -> dict[str, list[str]]:
    """The flags of the command that runs a program, by name."""
    (line,) = (line for line in text.replace("\\\n", " ").splitlines() if program in line)
    found: dict[str, list[str]] = {}
    words = shlex.split(line)
    for word in words[words.index(program) + 1 :]:
        if word.startswith("--") and word != "--":
            found[word[2:]] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def test_the_commands_have_the_settings_of_the_round(run: Path, tmp_path: Path) -> None:
    openrlhf.export(run, tmp_path / "out")
    script = tmp_path / "out" / "train.sh"
    subprocess.run(["sh", "-n", str(script)], check=True)
    reward = flags(script.read_text(), "openrlhf.cli.train_rm")
    assert reward["model.model_name_or_path"] == ["/models/my starter"]
    assert reward["data.prompt_key"] == ["prompt"] and reward["data.apply_chat_template"] == []
    ppo = flags(script.read_text(), "openrlhf.cli.train_ppo_ray")
    assert ppo["actor.adam.lr"] == ["2e-06"] and ppo["algo.kl.init_coef"] == ["0.07"]
    assert ppo["reward.clip_range"] == ["-4.0", "4.0"] and ppo["ds.lora.rank"] == ["8"]
    assert ppo["actor.num_gpus_per_node"] == ["$GPUS"]
    assert "algo.kl.target" not in ppo
    # 12 prompts fill no batch of 32, and 8 GPUs share out 8 of them: an episode and an update.
    assert ppo["rollout.batch_size"] == ["8"]
    assert ppo["train.num_episodes"] == [str(PPO.updates)]
    named = {value for part in (reward, ppo) for values in part.values() for value in values}
    assert {p.name for p in (tmp_path / "out").glob("*.jsonl")} <= named


@pytest.mark.parametrize("prompts", [1, 5, 7, 12, 100, 1000])
@pytest.mark.parametrize("minibatch", [1, 16, 64])
def test_every_gpu_has_an_equal_share_of_every_batch(prompts: int, minibatch: int) -> None:
    config = RoundConfig(starter="x", ppo=PPOConfig(batch_size=64, minibatch_size=minibatch))
    text = openrlhf.script(config, pairs=30, prompts=prompts)
    gpus = int(text.partition("GPUS:-")[2].partition("}")[0])
    ppo = flags(text, "openrlhf.cli.train_ppo_ray")
    (batch,), (small,) = ppo["rollout.batch_size"], ppo["train.batch_size"]
    (of_reward,) = flags(text, "openrlhf.cli.train_rm")["train.batch_size"]
    assert 1 <= int(small) <= int(batch) <= prompts
    assert [int(size) % gpus for size in (batch, small, of_reward)] == [0, 0, 0]


def test_a_number_of_gpus_that_does_not_divide_is_refused_before_anything_starts(
    run: Path, tmp_path: Path
) -> None:
    openrlhf.export(run, tmp_path / "out")
    command = ["sh", str(tmp_path / "out" / "train.sh")]
    environment = {"PATH": "/usr/bin:/bin", "GPUS": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "does not divide by 3 GPUs" in done.stderr


@pytest.mark.parametrize("program", openrlhf_arguments.PROGRAMS)
def test_every_flag_is_one_of_the_release_and_has_its_type(
    run: Path, tmp_path: Path, program: str
) -> None:
    table = json.loads(openrlhf_arguments.TABLE.read_text("utf-8"))
    assert table["release"] == "openrlhf-0.11.2"
    openrlhf.export(run, tmp_path / "out")
    text = (tmp_path / "out" / "train.sh").read_text().replace("$GPUS", "8")
    wrong = {
        flag: (values, table[program].get(flag))
        for flag, values in flags(text, f"openrlhf.cli.{program}").items()
        if not takes(table[program].get(flag), values)
    }
    assert wrong == {}


def takes(argument: dict[str, Any] | None, values: list[str]) -> bool:
    """True where OpenRLHF's parser takes the values of a flag; without a row there is none."""
    if argument is None:
        return False
    if argument.get("action") in ("store_true", "store_false"):
        return values == []
    kind = {"int": int, "float": float, "str": str}[argument.get("type", "str")]
    try:
        read = [kind(value) for value in values]
    except ValueError:
        return False
    many = argument.get("nargs")
    number_fits = len(values) == many if isinstance(many, int) else len(values) >= 1
    if many is None:
        number_fits = len(values) == 1
    return number_fits and all(one in argument.get("choices", [one]) for one in read)


def test_the_table_is_what_the_source_says() -> None:
    source = """
for part in ("actor", "critic"):
    parser.add_argument(f"--{part}.lr", type=float, default=1e-6)
parser.add_argument("--data.apply", action="store_true", help="x")
"""
    rate = {"type": "float", "default": 1e-6}
    assert openrlhf_arguments.arguments(source) == {
        "actor.lr": rate,
        "critic.lr": rate,
        "data.apply": {"action": "store_true"},
    }


def test_the_command_says_what_it_wrote_and_never_writes_over(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["openrlhf", str(run), "--out", str(tmp_path / "out")]
    assert main(command) == DONE
    assert "15" in capsys.readouterr().out
    assert main(command) == USAGE
    assert "is there already" in capsys.readouterr().err
