"""The task queue. It only triggers work: the record of every run is its row.

Every storage hands a task out at most once and forgets it before it ran, so nothing may depend
on a task arriving. Built when first used, because the queue's name holds the installation's id,
which is in the database: installations can share a home or a database server.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any, Literal

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from huey import Huey, PostgresHuey, SqliteHuey
from huey.registry import Message
from huey.serializer import SignedSerializer
from psycopg.errors import DuplicateTable, UniqueViolation

from annotate import exchange
from training.models import Run, Worker

Kind = Literal["short", "gpu"]
BODIES = "training.worker.tasks"
"""Module of the tasks' bodies. Workers alone import it: it leads to everything that runs here."""


def hand_to_worker(run: Run) -> None:
    """Trigger a worker after the commit; a trigger that gets lost is noticed by the scheduler."""
    Run.objects.filter(pk=run.pk).update(enqueued_at=timezone.now())
    # Robust: a queue that cannot be written must not undo what was committed.
    transaction.on_commit(lambda: start_run(run.pk, run.worker), robust=True)


def start_run(run_id: int, worker: str = Worker.GPU) -> None:
    """Ask a worker of this kind to supervise a run; the short one takes those that wait."""
    if worker == Worker.SHORT:
        _enqueue("short", "take_runs")
    else:
        _enqueue("gpu", "supervise", run_id)


def hand_job_to_worker(**sent: object) -> None:
    """Have the short worker look for waiting jobs after the commit."""
    # Robust: a queue that cannot be written must not undo what was committed.
    transaction.on_commit(take_jobs, robust=True)


def take_jobs() -> None:
    """Ask the short worker to work off the jobs that wait."""
    _enqueue("short", "take_jobs")


def hand_webhooks_to_worker(**sent: object) -> None:
    """Have the short worker send what waits in the outbox, after the commit."""
    # Robust: a queue that cannot be written must not undo what was committed.
    transaction.on_commit(send_webhooks, robust=True)


def send_webhooks() -> None:
    """Ask the short worker to send what waits in the outbox of webhooks."""
    _enqueue("short", "send_webhooks")


def refresh_order(project_id: int) -> None:
    """Ask the short worker to rank a project's open pairs anew."""
    _enqueue("short", "rerank", project_id)


def _enqueue(kind: Kind, task: str, *args: int) -> None:
    """Put a task into a queue by the name of its body, which this process need not know."""
    queue = huey(kind)
    message = Message(id=str(uuid.uuid4()), name=f"{BODIES}.{task}", args=args, kwargs={})
    queue.storage.enqueue(queue.serializer.serialize(message))


def huey(kind: Kind) -> Huey:
    """Queue of short jobs, or of training runs."""
    key = (kind, exchange.installation_id(), str(connection.settings_dict["NAME"]))
    if key not in _built:
        _built[key] = _build(*key)
    return _built[key]


_built: dict[tuple[Kind, str, str], Huey] = {}


def close() -> None:
    """Close this process's connections to its queues; the next use opens new ones."""
    for queue in _built.values():
        queue.storage.close()
    _built.clear()


def _build(kind: Kind, installation: str, database: str) -> Huey:
    name = f"pairloop-{kind}-{installation}"
    options: dict[str, Any] = {
        "results": False,
        "immediate": False,
        # Tasks are unpickled: what was not signed with our key must never get that far.
        "serializer": SignedSerializer(settings.SECRET_KEY, salt="pairloop.queue"),
    }
    if connection.vendor == "sqlite":
        # A file of its own: in the database's file it would slow every vote down.
        path = Path(settings.HOME) / "huey.sqlite3"
        return SqliteHuey(name, filename=str(path), timeout=20, **options)
    # Two processes that create the tables at once collide in the catalogue.
    with contextlib.suppress(UniqueViolation, DuplicateTable):
        return PostgresHuey(name, **_server(database), **options)
    return PostgresHuey(name, **_server(database), **options)


def _server(database: str) -> dict[str, Any]:
    """psycopg's connection parameters of the default database."""
    config = connection.settings_dict
    given = {
        "dbname": database,
        "user": config["USER"],
        "password": config["PASSWORD"],
        "host": config["HOST"],
        "port": config["PORT"],
    }
    kept = {k: v for k, v in config["OPTIONS"].items() if k.startswith("ssl")}
    return {key: value for key, value in (given | kept).items() if value}
