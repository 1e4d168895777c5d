from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Pair
from tests.training.conftest import PATIENCE, never_two_writers, trace, wait_for
from training.models import Lost, ModelVersion, Round, Run
from training.rlhf.round import STAGES
from training.rlhf.run import failures
from training.rounds import start_and_cancel
from training.runs import processes, supervisor

Supervise = Callable[..., Run]
Behave = Callable[..., None]


def in_background(run: Run, supervise: Supervise, **options: Any) -> threading.Thread:
    from django.db import connections

    def work() -> None:
        try:
            supervise(Run.objects.get(pk=run.pk), **options)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_it_sees_a_run_through_and_applies_every_stage(run: Run, supervise: Supervise) -> None:
    supervise(run)
    assert (run.state, run.error, run.exit_code, run.owner) == ("done", "", 0, "")
    assert run.round is not None
    assert Round.objects.get(pk=run.round_id).state == "done"
    assert [result.stage for result in run.stages.order_by("id")] == [s.name for s in STAGES]
    assert run.stages.get(stage="train_reward").metrics["accuracy"] == 0.8
    assert run.project.pairs.filter(source="round-1").exists()


def test_it_copies_metrics_progress_and_log_into_rows(run: Run, supervise: Supervise) -> None:
    supervise(run)
    steps = run.metrics.filter(stage="train_policy").order_by("step")
    assert [(row.step, row.values) for row in steps] == [
        (1, {"reward": 0.1}),
        (2, {"reward": 0.2}),
        (3, {"reward": 0.3}),
    ]
    assert (run.stage, run.step, run.total, run.message) == ("propose", 3, 3, "step 3")
    assert "fake engine, fence 1" in run.log_tail


def test_two_claims_at_once_give_one_holder(run: Run) -> None:
    first = Run.objects.claim(run.pk, owner="one")
    assert first is not None
    assert (first.fence, first.attempts) == (1, 1)
    assert Run.objects.claim(run.pk, owner="two") is None


def test_a_holder_whose_lease_ran_out_can_write_nothing_more(run: Run) -> None:
    old = Run.objects.claim(run.pk, owner="old")
    assert old is not None
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    new = Run.objects.claim(run.pk, owner="new")
    assert new is not None
    assert new.fence == 2
    assert not Run.objects.beat(old)
    with pytest.raises(Lost):
        Run.objects.write(old, message="I am still here")
    assert Run.objects.beat(new)


def test_the_heartbeat_renews_the_lease_while_the_process_works(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(pause=0.3, steps=2)
    thread = in_background(run, supervise)
    wait_for(lambda: Run.objects.get(pk=run.pk).lease_until)
    first = Run.objects.get(pk=run.pk).lease_until
    assert first is not None
    wait_for(lambda: (Run.objects.get(pk=run.pk).lease_until or first) > first)
    thread.join()


def test_a_process_that_is_killed_is_started_again_and_resumes(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(kill={"train_policy": 2, "sample": 1})
    supervise(run)
    assert (run.state, run.fence) == ("done", 3)
    steps = [(stage, step) for _, stage, step in trace(run)]
    assert steps.count(("train_policy", "1")) == 1
    assert steps.count(("train_policy", "2")) == 2
    assert never_two_writers(run)
    assert run.metrics.filter(stage="train_policy").count() == 3


@pytest.mark.once
def test_a_run_that_dies_every_time_fails_after_its_attempts(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    Run.objects.filter(pk=run.pk).update(max_attempts=3)
    run.refresh_from_db()
    behave(exit={"train_reward": 4})
    supervise(run)
    assert run.state == "failed"
    assert run.error.startswith("Gave up after 3 attempts.")
    assert Round.objects.get(pk=run.round_id).state == "failed"


@pytest.mark.once
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1, f"Improve policy: {failures.describe(RuntimeError('CUDA out of memory'))}"),
        (2, "Improve policy: LookupError: there is no model"),
        (0, "The process ended without finishing its stages."),
        (9, "The process ended with exit code 9: fake engine, fence 1"),
    ],
)
def test_a_failure_says_what_happened(
    code: int, error: str, run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(exit={"train_policy": code})
    supervise(run)
    assert (run.state, run.error, run.exit_code) == ("failed", error, code)


@pytest.mark.once
def test_an_ending_that_a_launcher_hides_is_tried_again(
    run: Run, supervise: Supervise, behave: Behave, settings: Settings
) -> None:
    settings.LAUNCHER = "accelerate launch --no_python"
    Run.objects.filter(pk=run.pk).update(max_attempts=2)
    behave(exit={"evaluate": 9})
    supervise(run)
    assert (run.state, run.fence) == ("failed", 2)
    assert run.error.startswith("Gave up after 2 attempts.")


def test_a_retry_goes_on_after_the_last_finished_stage(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(exit={"train_policy": 1})
    supervise(run)
    behave()
    assert run.round is not None
    assert start_and_cancel.retry(Round.objects.get(pk=run.round_id))
    supervise(run)
    assert (run.state, run.error) == ("done", "")
    assert len([step for _, stage, step in trace(run) if stage == "train_reward"]) == 3
    assert ModelVersion.objects.rewards().count() == 1


def test_a_cancelled_run_stops_at_a_step_and_keeps_its_stages(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(pause=0.2, steps=3)
    thread = in_background(run, supervise)
    wait_for(lambda: run.stages.filter(stage="train_reward").exists())
    assert start_and_cancel.cancel(Round.objects.get(pk=run.round_id))
    thread.join()
    run.refresh_from_db()
    assert (run.state, run.error, run.exit_code) == ("cancelled", "Cancelled.", 4)
    assert Round.objects.get(pk=run.round_id).state == "cancelled"
    assert run.stages.exists()


@pytest.mark.once
def test_a_cancelled_process_that_does_not_listen_is_killed(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(pause=0.2, steps=100, ignore_term=True)
    pace = supervisor.Pace(poll=0.02, cancel_grace=0.3)
    thread = in_background(run, supervise, pace=pace)
    wait_for((run.directory / "trace.txt").exists)
    assert start_and_cancel.cancel(Round.objects.get(pk=run.round_id))
    thread.join()
    run.refresh_from_db()
    assert (run.state, run.exit_code) == ("cancelled", -signal.SIGKILL)


def test_a_cancel_while_the_worker_stops_closes_the_run(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(pause=0.5, steps=20)
    thread = in_background(run, supervise)
    wait_for((run.directory / "trace.txt").exists)
    supervisor.stopping.set()  # the supervisor waits for the end of a step now
    time.sleep(0.1)
    assert start_and_cancel.cancel(Round.objects.get(pk=run.round_id))
    thread.join()
    run.refresh_from_db()
    assert (run.state, run.error) == ("cancelled", "Cancelled.")
    assert Round.objects.get(pk=run.round_id).state == "cancelled"


def test_a_queued_round_is_cancelled_at_once(run: Run) -> None:
    round_ = Round.objects.get(pk=run.round_id)
    assert start_and_cancel.cancel(round_)
    assert not start_and_cancel.cancel(round_)
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert Run.objects.claim(run.pk, owner="late") is None


@pytest.mark.once
def test_a_run_stops_at_its_time_limit(
    run: Run, supervise: Supervise, behave: Behave, settings: Settings
) -> None:
    settings.RUN_HOURS = 1 / 3600
    behave(pause=0.1, steps=100)
    supervise(run)
    assert run.state == "failed"
    assert "PAIRLOOP_RUN_HOURS" in run.error
    assert len(trace(run)) < 100


@pytest.mark.once
def test_a_run_does_not_start_on_a_full_disk(
    run: Run, supervise: Supervise, settings: Settings
) -> None:
    settings.MIN_FREE_GB = 1e9
    supervise(run)
    assert run.state == "failed"
    assert "Free some space and retry." in run.error
    assert run.pid is None


def test_a_worker_that_stops_gives_the_run_back(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(pause=0.1, steps=5)
    thread = in_background(run, supervise)
    wait_for((run.directory / "trace.txt").exists)
    supervisor.stopping.set()
    thread.join()
    run.refresh_from_db()
    assert (run.state, run.exit_code, run.attempts) == ("queued", 4, 0)
    supervisor.stopping.clear()
    behave()
    supervise(run)
    assert run.state == "done"
    steps = [(stage, step) for _, stage, step in trace(run)]
    assert len(steps) == len(set(steps))


@pytest.mark.once
def test_what_a_dead_supervisor_left_running_is_stopped_first(
    run: Run, supervise: Supervise
) -> None:
    orphan = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"],
        env={**os.environ, processes.MARK: str(run.uuid)},
        start_new_session=True,
    )
    supervise(run)
    assert orphan.wait(timeout=PATIENCE) == -signal.SIGTERM
    assert run.state == "done"


@pytest.mark.once
def test_a_supervisor_that_comes_late_does_not_take_the_directory(
    run: Run, supervise: Supervise
) -> None:
    run.directory.mkdir(parents=True)
    (run.directory / "owner.json").write_text('{"fence": 7, "owner": "somebody"}')
    supervise(run)
    assert not (run.directory / "trace.txt").exists()
    assert not run.stages.exists()


def test_a_dead_owner_on_this_host_is_noticed_before_its_lease_ends(
    run: Run, supervise: Supervise
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    name = f"{processes.this_host()} {dead.pid} {processes.start_time(dead.pid) or '1'} x"
    dead.wait()
    Run.objects.claim(run.pk, owner=name)
    run.refresh_from_db()
    supervise(run)
    assert (run.state, run.fence) == ("done", 2)


@pytest.mark.once
def test_an_unusable_result_fails_the_run_with_its_file(
    run: Run, supervise: Supervise, behave: Behave
) -> None:
    behave(pause=0.05)
    (run.directory / "sample").mkdir(parents=True)
    (run.directory / "sample" / "meta.json").write_text("{")
    supervise(run)
    assert run.state == "failed"
    assert "sample/meta.json" in run.error
    assert not Pair.objects.filter(source="round-1").exists()
