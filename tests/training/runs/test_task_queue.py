from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from annotate.models import Installation, Project
from tests.training.conftest import Spawned, wait_for
from training.models import Run, WorkerBeat
from training.runs import task_queue
from training.runs.task_queue import huey
from training.versions import promotion

Spawn = Callable[..., Spawned]


@pytest.fixture
def queue(home: Path, transactional_db: None) -> None:
    """A queue of this test alone: its name holds the id of the test's installation."""


def test_the_queue_belongs_to_the_installation(queue: None) -> None:
    first = huey("short")
    assert Installation.current().uuid.hex in first.name
    assert huey("gpu").name != first.name
    Installation.objects.all().delete()
    assert huey("short").name != first.name


def test_the_queue_is_beside_the_database_never_in_memory(queue: None, home: Path) -> None:
    task_queue.start_run(1)
    assert not huey("gpu").immediate
    if connection.vendor == "sqlite":
        assert (home / "huey.sqlite3").is_file()
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM huey_task WHERE queue = %s", [huey("gpu").name])
            assert cursor.fetchone() == (1,)


def test_a_task_that_was_not_signed_with_our_key_is_refused(queue: None) -> None:
    task_queue.start_run(1)
    task = bytes(huey("gpu").storage.dequeue())
    with pytest.raises(ValueError, match="Signature"):
        huey("gpu").deserialize_task(task[:-1] + b"0" if task[-1:] != b"0" else task[:-1] + b"1")


def test_the_scheduler_starts_a_round_that_a_training_worker_finishes(
    voted: Project, home: Path, spawn: Spawn
) -> None:
    promotion.adopt_starter(voted, "starter")
    trainer = spawn("worker", "--gpu")
    wait_for(WorkerBeat.objects.filter(kind="gpu").exists)
    Project.objects.update(round_after=20)
    scheduler = spawn("worker")
    wait_for(Run.objects.filter(project=voted, state="done").exists)
    assert voted.rounds.get().trigger == "votes"
    assert WorkerBeat.objects.filter(kind="short").exists()
    for worker in (scheduler, trainer):
        worker.terminate()
        assert worker.finish()[0] == 0
