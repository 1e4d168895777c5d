"""The tasks' bodies: ids in, a call of the function that does the work, nothing else.

Only workers import this. Whoever wants something done enqueues it by name (runs.task_queue).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

from django.db import close_old_connections, connections
from django.db.models import Case, When
from django.utils import timezone
from huey import crontab

from annotate import exchange
from training.active.rerank import refresh_priorities
from training.models import Run, RunKind, Worker
from training.runs import supervisor, task_queue
from training.runs.task_queue import Kind
from training.worker import scheduler

JOBS_AT_ONCE = 2
"""Jobs that one worker works at. It has more threads: the schedule must not wait for them."""
SENDERS = 2
"""Webhooks that one worker sends at once: one that keeps silent does not hold up all others."""
SOON = 10.0
"""Seconds for which a sender waits for the next try; for a later one the schedule comes back."""
RUNS_AT_ONCE = 3
"""Runs that one worker of short jobs supervises: servers do their work."""
THREADS = 2 + JOBS_AT_ONCE + SENDERS + RUNS_AT_ONCE
"""Of one worker of short jobs: these, and two for the schedule and for ranking pairs."""
_places = threading.BoundedSemaphore(JOBS_AT_ONCE)
_senders = threading.BoundedSemaphore(SENDERS)
_supervised = threading.BoundedSemaphore(RUNS_AT_ONCE)


def register(kind: Kind) -> None:
    """Tell this process's queue the tasks that its worker takes out of it. Once in a process."""
    queue = task_queue.huey(kind)
    if kind == "gpu":
        queue.task()(_with_connections(supervise))
    else:
        queue.task()(_with_connections(rerank))
        queue.task()(_with_connections(take_jobs))
        queue.task()(_with_connections(send_webhooks))
        queue.task()(_with_connections(take_runs))
        # A tick that comes late is followed by the next one: it expires before.
        queue.periodic_task(crontab(), expires=55)(_with_connections(tick))


def supervise(run_id: int) -> None:
    """See a run through. A trigger may outlive its run, and may come twice."""
    for run in Run.objects.filter(pk=run_id):
        supervisor.supervise(run)


def rerank(project_id: int) -> None:
    """Order a project's open pairs anew."""
    refresh_priorities(project_id)


def take_jobs() -> None:
    """Work off the jobs that wait, as far as this worker has places for them."""
    # Looked for again after each: a trigger that came while all places were taken is gone.
    while not supervisor.stopping.is_set() and exchange.waiting_jobs():
        if not _places.acquire(blocking=False):
            return
        try:
            for uuid in exchange.waiting_jobs()[:1]:
                exchange.run_job(uuid, stopping=supervisor.stopping.is_set)
        finally:
            _places.release()


def send_webhooks() -> None:
    """Send what is due in the outbox of webhooks, or will be in a moment."""
    # Looked for again after each: a trigger that came while all senders were busy is gone.
    while not supervisor.stopping.is_set():
        wait = exchange.seconds_to_next_webhook()
        if wait is None or wait > SOON or not _senders.acquire(blocking=False):
            return
        try:
            if not supervisor.stopping.wait(wait):
                exchange.send_next_webhook()
        finally:
            _senders.release()


def take_runs() -> None:
    """See the runs through that wait for this worker, as far as it has places for them."""
    waiting = Run.objects.filter(worker=Worker.SHORT)
    # Looked for again after each: a trigger that came while all places were taken is gone.
    while not supervisor.stopping.is_set() and _supervised.acquire(blocking=False):
        try:
            # First that before which somebody sits: previews, and models that are tried.
            patient = (RunKind.COMPLETIONS, RunKind.AI_VOTES)
            later = Case(When(kind__in=patient, then=1), default=0)
            in_order = waiting.claimable(timezone.now()).order_by(later, "pk")
            if (run := in_order.first()) is None:
                return
            supervisor.supervise(run)
        finally:
            _supervised.release()


def tick() -> None:
    """One turn of the scheduler."""
    scheduler.tick()


def _with_connections(function: Callable[..., None]) -> Callable[..., None]:
    """Drop broken database connections before a task, and give them back after it."""

    @functools.wraps(function)
    def wrapped(*args: int) -> None:
        close_old_connections()
        try:
            function(*args)
        finally:
            connections.close_all()

    return wrapped
