from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from training.rlhf import rows, trackers
from training.rlhf.__main__ import main
from training.rlhf.config import ConfigError
from training.rlhf.rundir import DONE, RunDirectory

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


def test_a_command_names_its_tracker_in_one_setting(tmp_path: Path) -> None:
    rows.write(tmp_path / "replies.jsonl", [{"prompt": "Why?", "completion": "So."}])
    settings = {
        "replies": str(tmp_path / "replies.jsonl"),
        "reward_function": "tests.training.rlhf.test_after_comparison:judge",
        "tracker": "tensorboard",
    }
    (tmp_path / "score.json").write_text(json.dumps(settings))
    out = tmp_path / "scores"
    assert main(["score", "--config", str(tmp_path / "score.json"), "--out", str(out)]) == DONE
    assert list((tmp_path / "tensorboard" / "scores").glob("events.*"))
