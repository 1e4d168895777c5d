"""Tasks: ids in, a call of the function that does the work, nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, connections
from huey import Huey, crontab

from training.models import Run
from training.runs import task_queue
from training.runs.task_queue import Kind


def start_run(run_id: int) -> None:
    """Ask a training worker to supervise a run."""
    triggers("gpu")["supervise"](run_id)


def refresh_order(project_id: int) -> None:
    """Ask the short worker to rank a project's open pairs anew."""
    triggers("short")["rerank"](project_id)


def triggers(kind: Kind) -> dict[str, Any]:
    """Huey's wrappers by task name; calling one puts the task into the queue."""
    return _registered(task_queue.huey(kind), kind)


@functools.cache
def _registered(huey: Huey, kind: Kind) -> dict[str, Any]:
    if kind == "gpu":
        return {"supervise": huey.task(name="supervise")(_with_connections(_supervise))}
    tick = huey.periodic_task(crontab(), name="tick", expires=55)
    return {
        "rerank": huey.task(name="rerank")(_with_connections(_rerank)),
        "tick": tick(_with_connections(_tick)),
    }


def _supervise(run_id: int) -> None:
    from training.runs import supervisor

    # A trigger may outlive its run, and may come twice.
    for run in Run.objects.filter(pk=run_id):
        supervisor.supervise(run)


def _rerank(project_id: int) -> None:
    from training.rounds import rerank

    rerank.rerank(project_id)


def _tick() -> None:
    from training.worker import scheduler

    scheduler.tick()


def _with_connections(function: Callable[..., None]) -> Callable[..., None]:
    """Drop broken database connections before a task, and give them back after it."""

    @functools.wraps(function)
    def wrapped(*args: Any) -> None:
        close_old_connections()
        try:
            function(*args)
        finally:
            connections.close_all()

    return wrapped
