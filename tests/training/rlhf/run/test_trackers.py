from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from training.rlhf import rows
from training.rlhf.__main__ import main
from training.rlhf.config import ConfigError, RoundConfig
from training.rlhf.round import Result, Stage, run_stage
from training.rlhf.run import trackers
from training.rlhf.run.run_directory import DONE, RunDirectory, Stopped
from training.rlhf.run.work import Work

STEPS = {1: {"loss": 3.0, "kl": 0.5}, 2: {"loss": 2.0, "kl": float("nan")}}


def follow(folder: Path, tracker: str) -> None:
    folder.mkdir()
    run = RunDirectory(folder)
    with run.claim(), trackers.forward(tracker, run, "ppo", {"seed": 3}) as finish:
        for step, numbers in STEPS.items():
            run.record("ppo", step, numbers)
        finish({"reward": 1.0})
    with run.claim():
        run.record("ppo", 3, {"loss": 9.0})  # nobody listens any more


def test_tensorboard_shows_every_metric_as_it_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    follow(tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "ppo"))
    events.Reload()
    found = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    assert found == {"loss": [(1, 3.0), (2, 2.0)], "kl": [(1, 0.5)], "final/reward": [(2, 1.0)]}


@pytest.mark.parametrize("name", sorted(trackers.OPEN))
def test_a_tracker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=f"tracker {name} needs its package: pip install"):
        follow(tmp_path / "run", name)


def test_a_tracker_that_cannot_begin_is_one_line_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(folder: Path, stage: str, settings: dict[str, Any]) -> Any:
        raise ConnectionError("no\nkey")

    monkeypatch.setitem(trackers.OPEN, "json", closed)
    with pytest.raises(ConfigError, match="tracker json cannot begin: no key"):
        follow(tmp_path / "run", "json")


def test_a_tracker_that_breaks_is_given_up_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[int] = []

    def broken(folder: Path, stage: str, settings: dict[str, Any]) -> Any:
        def log(numbers: dict[str, float], step: int) -> None:
            told.append(step)
            raise ConnectionError("no network")

        return log, lambda: None

    monkeypatch.setitem(trackers.OPEN, "json", broken)  # a package that everybody has
    follow(tmp_path / "run", "json")
    assert told == [1], "it is not asked again"
    assert "tracker json was given up: no network" in capsys.readouterr().err
    assert len(RunDirectory(tmp_path / "run").metrics()) == 3


@pytest.mark.parametrize(
    ("end", "status"),
    [(None, "FINISHED"), (ValueError("broken"), "FAILED"), (Stopped("asked to"), "KILLED")],
)
def test_a_tracker_is_told_how_the_work_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Exception | None, status: str
) -> None:
    told: list[str] = []

    def telling(folder: Path, stage: str, settings: dict[str, Any]) -> Any:
        return lambda numbers, step: None, told.append

    monkeypatch.setitem(trackers.OPEN, "json", telling)
    run = RunDirectory(tmp_path)
    with run.claim(), contextlib.suppress(ValueError, Stopped):
        with trackers.forward("json", run, "ppo", {}):
            if end is not None:
                raise end
    assert told == [status]


def losses(run: RunDirectory) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard" / "stage"))
    events.Reload()
    return [event.value for event in events.Scalars("loss")]


def stage(run: RunDirectory, config: RoundConfig, out: Path, work: Work) -> Result:
    run.record("stage", config.number, {"loss": float(config.number)})
    if config.number == 1:
        raise Stopped("asked to")
    return Result({"reward": 1.0}, {})


def test_a_round_tells_the_tracker_of_its_settings_and_goes_on_in_the_same_run(
    tmp_path: Path,
) -> None:
    run, step = RunDirectory(tmp_path), Stage("stage", "", "", f"{__name__}:stage")
    first, second = (RoundConfig(number=number, tracker="tensorboard") for number in (1, 2))
    with run.claim():
        with pytest.raises(Stopped):
            run_stage(run, step, first)
        run_stage(run, step, second)
        assert losses(run) == [1.0, 2.0]
        run.forget("stage")
        run_stage(run, step, second)
    assert losses(run) == [2.0], "a removed result is no part of the curve"


def test_a_command_names_its_tracker_in_one_setting(tmp_path: Path) -> None:
    rows.write(tmp_path / "replies.jsonl", [{"prompt": "Why?", "completion": "So."}])
    settings = {
        "replies": str(tmp_path / "replies.jsonl"),
        "reward_function": "tests.training.rlhf.evaluation.test_after_comparison:judge",
        "tracker": "tensorboard",
    }
    (tmp_path / "score.json").write_text(json.dumps(settings))
    out = tmp_path / "scores"
    assert main(["score", "--config", str(tmp_path / "score.json"), "--out", str(out)]) == DONE
    assert list((tmp_path / "tensorboard" / "scores").glob("events.*"))
