from __future__ import annotations

from pathlib import Path

import pytest

from training.rlhf.run.failures import ModelError
from training.rlhf.run.run_directory import Fenced, RunDirectory, Stopped
from training.rlhf.run.work import Work


def test_work_in_a_folder_prints_its_steps_and_keeps_its_state_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work.in_folder(tmp_path / "run", seed=3, device="cpu")
    work.report(1, 4, {"loss": 0.5, "kl": 0.25, "grad_norm": 1.0})
    work.report(2, 4, {})
    work.guard()
    assert capsys.readouterr().out == "1/4 loss 0.5, kl 0.25\n2/4\n"
    assert (work.seed, work.device.type) == (3, "cpu")
    assert work.checkpoints.is_dir()
    assert work.checkpoints.is_relative_to(tmp_path / "run")


def test_silent_work_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Work.in_folder(tmp_path, device="cpu", silent=True).report(1, 4, {"loss": 0.5})
    assert capsys.readouterr().out == ""


def test_a_stage_tells_its_run_and_ends_when_the_run_does(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    (tmp_path / "owner.json").write_text('{"fence": 1, "owner": "first"}')
    with run.claim():
        work = Work.of_stage(run, "sample", seed=1, threads=0, device="cpu")
        work.report(1, 2, {"loss": 0.5})
        work.report(2, 2, {})
        work.guard()
        run.stop_requested = True
        with pytest.raises(Stopped):
            work.guard()
        (tmp_path / "owner.json").write_text('{"fence": 2, "owner": "second"}')
        with pytest.raises(Fenced):
            work.guard()
    assert [line["message"] for line in run.progress()] == ["loss 0.5", ""]
    assert [(line["stage"], line["step"], line["loss"]) for line in run.metrics()] == [
        ("sample", 1, 0.5)
    ]
    assert work.checkpoints == run.checkpoints("sample")


def test_work_on_a_gpu_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ModelError, match="no usable GPU"):
        Work.in_folder(tmp_path, device="cuda")
