from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.rlhf import peers, world
from training.rlhf import rows
from training.rlhf.__main__ import main, plain_lines
from training.rlhf.round import STAGES, RunDirectory, run_round
from training.rlhf.run.run_directory import DONE, FENCED, LOCKED, STOPPED, USAGE, Fenced

ENGINE = [sys.executable, "-m", "training.rlhf"]
NAMES = [stage.name for stage in STAGES]


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.starter(tmp_path_factory.mktemp("starter"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Path:
    """A whole round that nobody interrupted."""
    path = world.run_directory(tmp_path_factory.mktemp("undisturbed") / "run", starter)
    run_round(path)
    return path


def command(run: Path) -> None:
    sys.exit(main(["round", str(run)]))


def start(run: Path) -> BaseProcess:
    return peers.forked(command, run)


def wait_for(run: Path, stage: str, step: int, working: Callable[[], bool]) -> None:
    """Until a progress line says that the stage has done this many steps."""
    while working():
        lines = RunDirectory(run).progress()
        if any(line["stage"] == stage and line["step"] >= step for line in lines):
            return
        time.sleep(0.005)


def results(run: Path) -> dict[str, Any]:
    """Everything a round is judged by, without times and absolute paths."""
    directory = RunDirectory(run)
    by_the_clock = dict.fromkeys(("time", "seconds", "tokens_per_second"), 0)
    metrics = {(m["stage"], m["step"]): {**m, **by_the_clock} for m in directory.metrics()}
    metas = {name: (directory.stage_meta(name) or {}).get("metrics") for name in NAMES}
    files = {
        str(path.relative_to(run)): path.read_bytes()
        for name in NAMES
        for path in sorted((run / name).rglob("*.jsonl"))
    }
    return {"metrics": metrics, "metas": metas, "files": files}


def weights(run: Path) -> dict[str, dict[str, torch.Tensor]]:
    found = sorted(run.glob("train_*/*/*.safetensors"))
    return {str(path.relative_to(run)): load_file(path) for path in found}


def assert_equal_runs(first: Path, second: Path) -> None:
    assert results(first) == results(second)
    mine, other = weights(first), weights(second)
    assert mine.keys() == other.keys() and len(mine) >= 3
    for file, tensors in mine.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other[file][name]), f"{file}: {name}"


def survive(run: Path, points: list[tuple[str, int]]) -> None:
    """Kill the engine at each point, then let it finish. A finished stage is never touched."""
    published: dict[str, int] = {}
    for stage, step in points:
        process = start(run)
        wait_for(run, stage, step, process.is_alive)
        process.kill()
        process.join()
        for name in NAMES:
            if (run / name).exists():
                made = (run / name / "meta.json").stat().st_mtime_ns
                assert published.setdefault(name, made) == made, f"{name} was run twice"
    done = subprocess.run([*ENGINE, "round", str(run)], capture_output=True, check=False)
    assert done.returncode == DONE
    for name, made in published.items():
        assert (run / name / "meta.json").stat().st_mtime_ns == made


def test_the_judges_steps_come_after_those_of_the_reward_model(undisturbed: Path) -> None:
    """Its bootstrap has fewer distinct pairs, so it takes fewer steps."""
    lines = [m for m in RunDirectory(undisturbed).metrics() if m["stage"] == "train_reward"]
    own = [line["step"] for line in lines if "loss" in line]
    judges = [line["step"] for line in lines if "judge_loss" in line]
    meta = RunDirectory(undisturbed).stage_meta("train_reward") or {}
    assert len(own) == meta["metrics"]["steps"] > len(judges)
    assert own + judges == list(range(1, len(lines) + 1))


def test_a_round_that_is_killed_and_resumed_equals_an_undisturbed_one(
    tmp_path: Path, starter: Path, undisturbed: Path
) -> None:
    run = world.run_directory(tmp_path / "run", starter)
    survive(run, [("train_reward", 3), ("train_policy", 2), ("evaluate", 4), ("sample", 8)])
    assert_equal_runs(run, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("stage", NAMES)
def test_a_kill_at_any_step_of_any_stage_changes_nothing(
    tmp_path: Path, starter: Path, undisturbed: Path, stage: str, step: int
) -> None:
    run = world.run_directory(tmp_path / "run", starter)
    survive(run, [(stage, step)] * 2)
    assert_equal_runs(run, undisturbed)


def test_sigterm_stops_at_the_edge_of_a_step_and_the_run_goes_on_later(
    tmp_path: Path, starter: Path, undisturbed: Path
) -> None:
    run = world.run_directory(tmp_path / "run", starter)
    process = start(run)
    wait_for(run, "train_policy", 1, process.is_alive)
    process.terminate()
    process.join()
    assert process.exitcode == STOPPED
    assert not RunDirectory(run).done("train_policy") and RunDirectory(run).error() is None
    run_round(run)
    assert_equal_runs(run, undisturbed)


def test_a_finished_round_is_not_run_again(undisturbed: Path) -> None:
    before = results(undisturbed)
    assert main(["round", str(undisturbed)]) == DONE
    assert results(undisturbed) == before


def test_a_stage_says_how_it_was_made(undisturbed: Path) -> None:
    for name in NAMES:
        meta = RunDirectory(undisturbed).stage_meta(name)
        assert meta is not None and meta["stage"] == name
        assert meta["config"]["seed"] == 3 and meta["parents"]
        assert meta["data_sha256"]["prompts.jsonl"] == rows.sha256(undisturbed / "prompts.jsonl")
        assert (
            meta["versions"]["torch"] == torch.__version__.partition("+")[0]
            or "torch" in meta["versions"]
        )


def test_a_second_process_is_locked_out(
    tmp_path: Path, starter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = world.run_directory(tmp_path / "run", starter)
    with RunDirectory(run).claim():
        assert main(["round", str(run)]) == LOCKED
    assert "another process" in capsys.readouterr().err


def test_a_changed_fence_ends_the_process(tmp_path: Path, starter: Path) -> None:
    path = world.run_directory(tmp_path / "run", starter)
    (path / "owner.json").write_text(json.dumps({"fence": 1, "owner": "first"}))
    run = RunDirectory(path)

    def take_over(line: dict[str, Any]) -> None:
        if line["step"] == 1:
            (path / "owner.json").write_text(json.dumps({"fence": 2, "owner": "second"}))

    run.listener = take_over
    with pytest.raises(Fenced):
        run_round(run, 1)
    assert max(line["step"] for line in run.progress()) == 1
    assert not run.done("train_reward") and run.error() is None
    assert main(["round", str(path), "--fence", "1"]) == FENCED


def test_a_stage_that_fails_says_why(tmp_path: Path) -> None:
    run = world.run_directory(tmp_path / "run", tmp_path / "gone")
    assert main(["round", str(run)]) == USAGE
    error = RunDirectory(run).error()
    assert error is not None and error["stage"] == "train_reward"
    assert "gone" in error["error"] and "Traceback" in error["traceback"]


def test_help_lists_the_commands_and_imports_nothing_that_takes_long() -> None:
    done = subprocess.run([*ENGINE, "--help"], capture_output=True, text=True, check=True)
    for name in ("sft", "reward", "ppo", "evaluate", "sample", "round"):
        assert f"    {name}" in done.stdout
    code = "import sys; from training.rlhf.__main__ import parser; parser().format_help();"
    code += "sys.exit(bool({'torch', 'transformers', 'trl', 'nltk', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def write_config(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("command", "config", "message"),
    [
        ("reward", {"reward": {"epoch": 3}}, "unknown setting epoch"),
        ("reward", {"starter": "s"}, "the config file needs preferences"),
        ("reward", {"starter": "s", "preferences": "gone.jsonl"}, "cannot read gone.jsonl"),
        ("reward", {"starter": "./gone", "preferences": "votes.jsonl"}, "no model folder"),
        ("reward", {"starter": "s", "preferences": "broken.jsonl"}, "broken.jsonl, line 1"),
        ("ppo", {"ppo": {"lam": 2}}, "ppo.lam"),
        ("sample", {"policy": 3}, "policy must be str"),
        ("evaluate", {}, "needs starter, policy, reward_model, judge, prompts"),
        ("sft", {"sft": {"data": "gone.jsonl"}}, "gone.jsonl"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    config: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows.write("votes.jsonl", world.preferences(4))
    Path("broken.jsonl").write_text("{broken\n")
    write_config(Path("x.json"), config)
    assert main([command, "--config", "x.json", "--out", "out"]) == USAGE
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error
    assert "Traceback" not in error and not Path("out").exists()


def test_a_missing_config_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["reward", "--config", "gone.yaml", "--out", out]) == USAGE
    assert "gone.yaml" in capsys.readouterr().err


def test_the_single_commands_chain_from_votes_to_completions(
    tmp_path: Path, starter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write(tmp_path / "votes.jsonl", world.preferences(24))
    rows.write(tmp_path / "prompts.jsonl", world.prompts())
    base = {"starter": str(starter), "threads": 1, "device": "cpu"}
    prompts = {"prompts": str(tmp_path / "prompts.jsonl")}
    reward = {"reward_model": str(tmp_path / "reward" / "model")}
    configs: dict[str, dict[str, Any]] = {
        "reward": {
            "preferences": str(tmp_path / "votes.jsonl"),
            "reward": world.CONFIG["reward"],
        },
        "ppo": prompts | reward | {"ppo": world.CONFIG["ppo"]},
        "evaluate": prompts
        | reward
        | {
            "policy": str(tmp_path / "ppo" / "model"),
            "judge": str(tmp_path / "reward" / "judge"),
            "evaluate": world.CONFIG["evaluate"],
        },
        "sample": prompts
        | {"policy": str(tmp_path / "ppo" / "model"), "sample": world.CONFIG["sample"]},
    }
    for command, config in configs.items():
        file = write_config(tmp_path / f"{command}.json", base | config)
        out = tmp_path / command
        assert main([command, "--config", str(file), "--out", str(out)]) == DONE
        meta = json.loads((out / "meta.json").read_text())
        assert meta["metrics"] and str(starter) in meta["parents"].values()
    assert "win_rate" in capsys.readouterr().out
    assert list(rows.read(rows.Completion, tmp_path / "sample" / "completions.jsonl"))
    # A second time nothing is done: the result is there.
    again = ["sample", "--config", str(file), "--out", str(out)]
    assert main(again) == DONE
    assert "done already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.json"])
@pytest.mark.parametrize("command", ["dpo", "orpo"])
def test_preferences_are_learnt_from_any_file_that_the_reward_model_reads(
    tmp_path: Path, starter: Path, command: str, name: str
) -> None:
    data = [
        {"prompt": f"Tell me about the parcel {i}.", "chosen": "good dog", "rejected": "bad fox"}
        for i in range(6)
    ]
    file = write_config(tmp_path / name, data)
    if name.endswith(".csv"):
        with file.open("w", newline="") as out:
            table = csv.DictWriter(out, fieldnames=list(data[0]))
            table.writeheader()
            table.writerows(data)
    config = {"starter": str(starter), "preferences": str(file), "held_out_share": 0.0}
    config |= {"threads": 1, "device": "cpu", "pairs": {"batch_size": 2, "max_length": 64}}
    settings = write_config(tmp_path / "x.json", config)
    assert main([command, "--config", str(settings), "--out", str(tmp_path / "out")]) == DONE
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta["metrics"]["pairs"] == 6 and meta["metrics"]["steps"] == 3


def test_a_folder_that_is_no_result_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    config = write_config(tmp_path / "x.json", {})
    assert main(["sample", "--config", str(config), "--out", str(tmp_path / "out")]) == USAGE
    assert "not a result" in capsys.readouterr().err


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([0.0, 1.0, 6.0, 7.0, 8.0])
    show = plain_lines(lambda: next(times))
    for step in (0, 1, 2, 3, 4):
        show({"stage": "sample", "step": step, "total": 4, "message": ""})
    assert capsys.readouterr().out.splitlines() == ["sample 0/4", "sample 2/4", "sample 4/4"]
