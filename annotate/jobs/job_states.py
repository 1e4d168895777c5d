"""Moves of a job from state to state, each a conditional update of its row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from django.db import connections, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from annotate.models import WebhookEvent
from annotate.models.job import Job, job_waiting
from annotate.webhooks import outbox

BEAT_SECONDS = 1.0
LONG_BEAT_SECONDS = 5.0
LINKS: dict[str, Callable[[Job], outbox.Links]] = {
    "import": lambda job: {"url": ("import", job.uuid), "api_url": ("api-import-one", job.uuid)},
    "export": lambda job: {"url": ("export",), "api_url": ("api-export-one", job.uuid)},
}
"""The addresses of a job of each kind, for webhooks."""


class Lost(Exception):
    """Somebody else holds the job now."""


class Cancelled(Exception):
    """Its owner wants it to stop."""


class Stopping(Exception):
    """The worker ends; the next one goes on."""


def hand_over(job: Job, rows: QuerySet[Any], **fields: Any) -> bool:
    """Put a job in the workers' queue, if `rows` still selects it."""
    changed = rows.filter(pk=job.pk).update(
        state=Job.State.WAITING,
        queued_at=timezone.now(),
        attempts=0,
        started_at=None,
        heartbeat_at=None,
        finished_at=None,
        cancel_asked=False,
        done=0,
        share=0.0,
        error="",
        **fields,
    )
    job.refresh_from_db()
    if changed:
        job_waiting.send(sender=type(job), job=job)
    return bool(changed)


def hold(job: Job, rows: QuerySet[Any], **fields: Any) -> bool:
    """Take a job for this process, which is no worker, if `rows` still selects it."""
    now = timezone.now()
    taken = rows.filter(pk=job.pk).update(
        state=Job.State.RUNNING,
        foreground=True,
        fence=F("fence") + 1,
        started_at=now,
        heartbeat_at=now,
        error="",
        **fields,
    )
    job.refresh_from_db()
    return bool(taken)


def ask_to_cancel(job: Job) -> bool:
    """Cancel a job at once, or have its holder stop at the next edge; False when it is over."""
    rows = type(job)._default_manager.filter(pk=job.pk)
    idle = rows.filter(state__in=(Job.State.HELD, Job.State.WAITING))
    return close(job, idle, Job.State.CANCELLED) or bool(
        rows.filter(state=Job.State.RUNNING).update(cancel_asked=True)
    )


def close(job: Job, rows: QuerySet[Any], state: str, **fields: Any) -> bool:
    """End a job and tell the project's webhooks, if `rows` still selects it."""
    with transaction.atomic():
        ended = rows.filter(pk=job.pk).update(state=state, finished_at=timezone.now(), **fields)
        if ended:
            kind = type(job).__name__.lower()
            outbox.tell_webhooks(
                job.project_id,
                WebhookEvent.JOB_DONE,
                {"job": kind, "id": str(job.uuid), "state": state, **_counts(fields)},
                LINKS[kind](job) if kind in LINKS else {},
            )
    return bool(ended)


def _counts(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Rows that an import has added, as its report ends; nothing of other jobs."""
    written = fields.get("report", {}).get("written")
    return {"added": written["added"]} if written else {}


def settle(job: Job, state: str, **fields: Any) -> None:
    """Let go of a held job. Raises Lost when somebody else holds it."""
    if state in Job.FINISHED:
        settled = close(job, _held(job), state, **fields)
    else:
        settled = bool(_held(job).update(state=state, finished_at=None, **fields))
    if not settled:
        raise Lost
    job.refresh_from_db()


def _held(job: Job) -> QuerySet[Any]:
    """The job's row, while this holder has it."""
    rows = type(job)._default_manager.filter(pk=job.pk)
    return rows.filter(state=Job.State.RUNNING, fence=job.fence)


class Heartbeat:
    """Says every second that a job is alive and how far it is, and hears whether to go on."""

    def __init__(self, job: Job, stopping: Callable[[], bool] = lambda: False) -> None:
        self._job, self._stopping = job, stopping
        self._next = 0.0

    def __call__(self, done: int, share: float) -> None:
        """Raises Lost, Cancelled or Stopping when it is to end here."""
        if monotonic() >= self._next:
            self.beat(done, share)

    def beat(self, done: int, share: float) -> None:
        """The same, at once. In a transaction it keeps every other holder from writing."""
        rows = _held(self._job)
        if not rows.update(heartbeat_at=timezone.now(), done=done, share=share):
            raise Lost
        if rows.filter(cancel_asked=True).exists():
            raise Cancelled
        if self._stopping():
            raise Stopping
        self._next = monotonic() + BEAT_SECONDS

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Say that the job is alive, from another thread, while this one cannot."""
        over = threading.Event()

        def beat() -> None:
            try:
                while not over.wait(LONG_BEAT_SECONDS):
                    _held(self._job).update(heartbeat_at=timezone.now())
            finally:
                connections.close_all()

        thread = threading.Thread(target=beat, name="job heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
