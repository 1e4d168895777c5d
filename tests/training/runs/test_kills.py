"""Real workers and real training processes, killed without warning."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.training.conftest import Spawned, never_two_writers, trace, wait_for
from training.models import ModelVersion, Run
from training.rlhf.round import STAGES
from training.runs import processes, task_queue

Spawn = Callable[..., Spawned]
Behave = Callable[..., None]


def state(run: Run) -> str:
    return Run.objects.values_list("state", flat=True).get(pk=run.pk)


def steps(run: Run) -> list[tuple[str, str]]:
    return [(stage, step) for _, stage, step in trace(run)]


def assert_everything_happened_once(run: Run, *, steps_per_stage: int = 3) -> None:
    run.refresh_from_db()
    assert (run.state, run.error) == ("done", "")
    assert [result.stage for result in run.stages.order_by("id")] == [s.name for s in STAGES]
    assert ModelVersion.objects.filter(run=run).count() == 2
    # 50 prompts, each with one pair to learn from and one to evaluate the policy.
    assert run.project.pairs.filter(source="round-1").count() == 100
    assert run.metrics.count() == steps_per_stage * len(STAGES)
    assert never_two_writers(run)


def stop(worker: Spawned) -> None:
    worker.send_signal(signal.SIGTERM)
    assert worker.finish()[0] == 0


def test_a_round_survives_the_kill_of_its_worker(run: Run, spawn: Spawn, behave: Behave) -> None:
    behave(pause=0.15)
    task_queue.start_run(run.pk)
    worker = spawn("worker", "--gpu")
    wait_for(lambda: ("train_policy", "2") in steps(run))
    pid = Run.objects.get(pk=run.pk).pid
    assert pid is not None
    worker.kill()
    worker.wait()
    # The training process ends with the thread that started it.
    wait_for(lambda: not processes.start_time(pid))
    assert state(run) == "running"
    behave()
    again = spawn("worker", "--gpu")
    wait_for(lambda: state(run) == "done")
    stop(again)
    assert_everything_happened_once(run)


def test_a_worker_that_is_asked_to_stop_leaves_the_round_for_the_next(
    run: Run, spawn: Spawn, behave: Behave
) -> None:
    behave(pause=0.15)
    task_queue.start_run(run.pk)
    worker = spawn("worker", "--gpu")
    wait_for(lambda: len(steps(run)) > 2)
    stop(worker)
    run.refresh_from_db()
    assert (run.state, run.exit_code) == ("queued", 4)
    behave()
    again = spawn("worker", "--gpu")
    wait_for(lambda: state(run) == "done")
    stop(again)
    assert_everything_happened_once(run)
    # Stopped at the edges of steps: none was worked on twice.
    assert len(steps(run)) == len(set(steps(run)))


def random_kills(run: Run, spawn: Spawn, *, kills: int, seed: int) -> None:
    """Kill the worker, the training process or both, some steps on each time."""
    rng = random.Random(seed)
    for _ in range(kills):
        if state(run) == "done":
            return
        worker = spawn("worker", "--gpu")
        goal = len(steps(run)) + rng.randrange(1, 4)
        wait_for(lambda: len(steps(run)) >= goal or state(run) == "done")  # noqa: B023
        victims = rng.choice(("worker", "training", "both"))
        pid = Run.objects.get(pk=run.pk).pid
        if victims != "worker" and pid:
            processes.signal_group(pid, signal.SIGKILL)
            time.sleep(rng.random() / 2)
        if victims == "training":
            stop(worker)
        else:
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_no_kill_loses_or_doubles_anything(
    kills: int, run: Run, spawn: Spawn, behave: Behave
) -> None:
    # Enough work for every kill to meet some.
    length = max(3, kills * 3 // len(STAGES))
    behave(pause=0.1, steps=length)
    random_kills(run, spawn, kills=kills, seed=kills)
    behave(steps=length)
    worker = spawn("worker", "--gpu")
    wait_for(lambda: state(run) == "done")
    stop(worker)
    assert_everything_happened_once(run, steps_per_stage=length)
