"""Working at jobs: take one, do its step, write down how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from annotate.exporting import export_job
from annotate.importing import Unreadable
from annotate.jobs import export_actions, import_job
from annotate.jobs.job_states import Cancelled, Heartbeat, Lost, Stopping, close, settle
from annotate.models import Export, IdempotencyKey, Import
from annotate.models.job import Job

log = logging.getLogger(__name__)

BODIES: dict[type[Job], Callable[[Any, Heartbeat], None]] = {
    Import: import_job.perform,
    Export: export_actions.perform,
}
"""The work for a job of each kind. A body settles its job, or raises."""
MOST_ATTEMPTS = 5
EXHAUSTED = f"Given up: {MOST_ATTEMPTS} workers in a row ended while they were at it."
UNEXPECTED = "Something went wrong on the server. It has been logged; please try again."
ABANDONED = "Its command was ended before it was done."


def waiting_jobs() -> list[str]:
    """The jobs that wait for a worker or lost theirs, by uuid, those of a kind oldest first."""
    now = timezone.now()
    return [
        str(uuid)
        for kind in BODIES
        for uuid in kind._default_manager.claimable(now).values_list("uuid", flat=True)
    ]


def run_job(uuid: str, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Take a job if it is to be had, and do its step; whether it was to be had.

    `stopping` is asked at every edge: a job that is given back so goes on in the next worker.
    """
    for kind, body in BODIES.items():
        for pk in kind._default_manager.filter(uuid=uuid).values_list("pk", flat=True):
            job = kind._default_manager.claim(pk)
            if job is not None:
                work(job, body, Heartbeat(job, stopping))
                return True
    return False


def work(job: Job, body: Callable[[Any, Heartbeat], None], heartbeat: Heartbeat) -> None:
    """Do the step of a job that is held; it ends in a state and a sentence, whatever happens."""
    try:
        if job.attempts > MOST_ATTEMPTS:
            settle(job, Job.State.FAILED, error=EXHAUSTED)
        else:
            _settled(job, body, heartbeat)
    except Lost:
        log.warning("%s %s is somebody else's now", type(job).__name__.lower(), job.uuid)


def _settled(job: Job, body: Callable[[Any, Heartbeat], None], heartbeat: Heartbeat) -> None:
    try:
        body(job, heartbeat)
    except Lost:
        raise
    except (Cancelled, KeyboardInterrupt):
        settle(job, Job.State.CANCELLED, error="Cancelled.")
    except Stopping:
        settle(job, Job.State.WAITING, heartbeat_at=None, attempts=0)
    except Unreadable as error:
        settle(job, Job.State.FAILED, error=str(error))
    except (OperationalError, InterfaceError):
        # It falls silent, and is taken up again.
        log.exception("the database left %s %s", type(job).__name__.lower(), job.uuid)
    except Exception:
        log.exception("%s %s failed", type(job).__name__.lower(), job.uuid)
        settle(job, Job.State.FAILED, error=UNEXPECTED)


def tidy_jobs() -> None:
    """Close the jobs of commands that were ended, and drop what nobody came back to: files, and
    answers kept for requests that are sent again."""
    now = timezone.now()
    IdempotencyKey.objects.expired().delete()
    import_job.drop_old_files(now)
    export_job.drop_old_files(now)
    for kind in BODIES:
        abandoned = kind._default_manager.abandoned(now)
        for job in abandoned:
            close(job, abandoned, Job.State.FAILED, error=ABANDONED)
