from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from training.rlhf.run.run_directory import Fenced, Locked, RunDirectory, Stopped


def own(path: Path, fence: int) -> None:
    (path / "owner.json").write_text(json.dumps({"fence": fence, "owner": "host:1"}))


def claim_elsewhere(path: Path, answers: multiprocessing.Queue[str]) -> None:
    try:
        with RunDirectory(path).claim():
            answers.put("claimed")
    except Locked:
        answers.put("locked")


def test_a_second_process_cannot_claim_the_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[str] = context.Queue()
    with RunDirectory(tmp_path).claim():
        process = context.Process(target=claim_elsewhere, args=(tmp_path, answers))
        process.start()
        assert answers.get(timeout=120) == "locked"
        process.join()


def test_a_released_run_can_be_claimed_again(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        pass
    with run.claim():
        run.report("train_reward", 1, 2)
    assert len(run.progress()) == 1


def test_the_fence_of_the_start_is_kept(tmp_path: Path) -> None:
    own(tmp_path, 4)
    run = RunDirectory(tmp_path)
    with run.claim():
        run.check()
        own(tmp_path, 5)
        with pytest.raises(Fenced):
            run.check()


def test_an_old_fence_cannot_claim(tmp_path: Path) -> None:
    own(tmp_path, 5)
    with pytest.raises(Fenced):
        with RunDirectory(tmp_path).claim(4):
            pass


def test_a_run_without_an_owner_has_no_fence(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        run.check()


def test_a_fenced_process_cannot_publish(tmp_path: Path) -> None:
    own(tmp_path, 1)
    run = RunDirectory(tmp_path)
    with run.claim():
        (run.partial("sample") / "completions.jsonl").write_text("{}\n")
        own(tmp_path, 2)
        with pytest.raises(Fenced):
            run.publish("sample", {})
    assert not run.done("sample")


def test_a_stop_request_is_honoured_at_the_edge_of_a_step(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        run.stop_requested = True
        with pytest.raises(Stopped):
            run.check()


def test_a_stage_is_done_only_when_published(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    (tmp_path / "prompts.jsonl").write_text("{}\n")
    with run.claim():
        (run.partial("sample") / "completions.jsonl").write_text("{}\n")
        assert not run.done("sample") and run.stage_meta("sample") is None
        meta = run.meta("sample", {"seed": 1}, {"policy": "p"}, {"n": 1, "bad": float("nan")})
        run.publish("sample", meta)
    assert run.done("sample")
    assert (tmp_path / "sample" / "completions.jsonl").exists()
    found = run.stage_meta("sample")
    assert found is not None
    assert found["metrics"] == {"n": 1.0, "bad": None}
    assert found["config"] == {"seed": 1} and found["parents"] == {"policy": "p"}
    assert set(found["data_sha256"]) == {"prompts.jsonl"}
    assert "python" in found["versions"]


def test_what_a_killed_attempt_left_is_not_published(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        (run.partial("sample") / "stale").write_text("x")
        run.partial("sample")
        run.publish("sample", {})
    assert [path.name for path in (tmp_path / "sample").iterdir()] == ["meta.json"]


def test_the_last_metrics_of_a_repeated_step_count(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        for step, loss in [(1, 0.9), (2, 0.8), (3, 0.7), (2, 0.85), (3, 0.75)]:
            run.record("train_reward", step, {"loss": loss})
        run.record("train_policy", 2, {"loss": 5.0})
    read = {(m["stage"], m["step"]): m["loss"] for m in run.metrics()}
    assert read == {
        ("train_reward", 1): 0.9,
        ("train_reward", 2): 0.85,
        ("train_reward", 3): 0.75,
        ("train_policy", 2): 5.0,
    }


def test_a_torn_last_line_is_passed_over_and_the_next_line_is_whole(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        run.report("sample", 1, 3)
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"time": 1, "sta')
    assert [line["step"] for line in run.progress()] == [1]
    with run.claim():
        run.report("sample", 2, 3)
    assert [line["step"] for line in run.progress()] == [1, 2]


def test_reading_a_run_that_has_not_begun_gives_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.progress() == [] and run.metrics() == []
    assert run.error() is None and run.owner() is None


def test_a_listener_hears_every_progress_line(tmp_path: Path) -> None:
    heard: list[int] = []
    run = RunDirectory(tmp_path)
    run.listener = lambda line: heard.append(line["step"])
    with run.claim():
        run.report("sample", 1, 2)
        run.report("sample", 2, 2)
    assert heard == [1, 2]


def test_a_forgotten_stage_leaves_nothing_and_the_others_stay(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    with run.claim():
        for stage in ("ppo", "sample"):
            run.record(stage, 1, {"loss": 1.0})
            (run.checkpoints(stage) / "state").touch()
            run.partial(stage)
            run.publish(stage, {"metrics": {}})
        run.forget("ppo")
        run.forget("never-run")
        assert not run.done("ppo") and run.done("sample")
        assert [line["stage"] for line in run.metrics()] == ["sample"]
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["sample"]
        (run.partial("ppo") / "model").touch()
        assert (run.publish("ppo", {"metrics": {}}) / "model").exists()
