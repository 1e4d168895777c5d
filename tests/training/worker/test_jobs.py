from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from annotate import exchange
from annotate.jobs import import_actions
from annotate.models import Import, Project
from annotate.models.job import SILENCE
from tests.annotate.jobs.files import pair, sent
from tests.conftest import at_once
from training.runs.task_queue import huey
from training.worker import scheduler, tasks


def executed() -> None:
    """Do what is in the short queue, as a worker does by the names of the tasks."""
    queue = huey("short")
    while data := queue.storage.dequeue():
        message = queue.serializer.deserialize(data)
        getattr(tasks, message.name.rpartition(".")[2])(*message.args)


@pytest.mark.django_db(transaction=True)
def test_a_new_import_triggers_the_short_worker(home: Path, project: Project, zed: User) -> None:
    import_ = sent(project, zed, pair())
    executed()
    import_.refresh_from_db()
    assert import_actions.stage(import_) == "ready"
    import_actions.begin(import_)
    executed()
    assert project.pairs.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_minute_tick_recovers_lost_triggers_and_silent_jobs(
    home: Path, project: Project, zed: User
) -> None:
    lost, silent = sent(project, zed, pair()), sent(project, zed, pair(1))
    huey("short").flush()
    assert Import.objects.claim(silent.pk) is not None
    scheduler.tick()
    executed()
    lost.refresh_from_db()
    assert import_actions.stage(lost) == "ready"
    Import.objects.filter(pk=silent.pk).update(
        heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1)
    )
    scheduler.tick()
    executed()
    silent.refresh_from_db()
    assert import_actions.stage(silent) == "ready"


@pytest.mark.django_db(transaction=True)
def test_a_worker_works_at_so_many_jobs_at_once_and_then_takes_the_next(
    home: Path, project: Project, zed: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        sent(project, zed, pair(i))
    at_work: list[int] = []
    most = 0
    run_job = exchange.run_job

    def watched(uuid: str, stopping: Callable[[], bool]) -> bool:
        nonlocal most
        at_work.append(1)
        most = max(most, len(at_work))
        try:
            time.sleep(0.05)
            return run_job(uuid, stopping=stopping)
        finally:
            at_work.pop()

    monkeypatch.setattr(exchange, "run_job", watched)
    at_once(*[tasks.take_jobs] * 4)
    assert exchange.waiting_jobs() == [] and most <= tasks.JOBS_AT_ONCE
    assert {import_actions.stage(one) for one in Import.objects.all()} == {"ready"}


@pytest.mark.django_db(transaction=True)
def test_an_import_whose_worker_is_killed_is_finished_by_the_next(
    home: Path, project: Project, zed: User
) -> None:
    rows = [pair(i, votes={"u1": "a"}) for i in range(3000)]
    import_ = sent(project, zed, *rows)
    executed()
    import_.refresh_from_db()
    import_actions.begin(import_)
    name = str(connection.settings_dict["NAME"])
    url = f"sqlite:///{name}" if connection.vendor == "sqlite" else _url(name)
    program = (
        "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'; "
        "import django; django.setup(); from annotate import exchange; "
        f"exchange.run_job('{import_.uuid}')"
    )
    environment = os.environ | {"PAIRLOOP_HOME": str(home), "DATABASE_URL": url}
    worker = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        deadline = time.monotonic() + 120
        while not project.pairs.exists():
            assert worker.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        worker.send_signal(signal.SIGKILL)
    finally:
        worker.kill()
        worker.wait()
    import_.refresh_from_db()
    assert import_.state == "running" and 0 < project.pairs.count() < 3000
    Import.objects.update(heartbeat_at=timezone.now() - SILENCE - timedelta(seconds=1))
    huey("short").flush()
    scheduler.recover_jobs()
    executed()
    import_.refresh_from_db()
    assert import_actions.stage(import_) == "done" and project.pairs.count() == 3000


def _url(name: str) -> str:
    config = connection.settings_dict
    password = f":{config['PASSWORD']}" if config["PASSWORD"] else ""
    return f"postgres://{config['USER']}{password}@{config['HOST']}:{config['PORT']}/{name}"
