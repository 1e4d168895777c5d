"""Recovery of runs whose supervisor, worker or machine died: found, then handed to a worker again.

The scheduler recovers every minute, a worker once when it starts. A run goes on from its last
checkpoint; one that was tried too often fails.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from training.models import Run, Worker
from training.runs import processes, task_queue
from training.runs.run_states import set_state
from training.runs.task_queue import huey

TRIGGER_GRACE = timedelta(seconds=30)
"""Time a trigger may be on its way before an empty queue means that it was lost."""


def recover(*, at_once: bool = False) -> int:
    """Hand runs without a living holder to a worker again; how many were triggered.

    Args:
        at_once: do not wait for triggers that may be on their way (a worker just started).
    """
    for run in Run.objects.filter(state=Run.State.RUNNING):
        expire_dead_owner(run)
    close_cancelled()
    give_up_exhausted()
    now = timezone.now()
    late = Q(enqueued_at=None) | Q(enqueued_at__lt=now - TRIGGER_GRACE)
    waiting = Run.objects.claimable(now).filter(Q() if at_once else late)
    # A run waits rightly behind others; only an empty queue shows that its trigger was lost.
    if huey("gpu").pending_count():
        waiting = waiting.exclude(worker=Worker.GPU)
    triggered = 0
    for run in waiting:
        same = Run.objects.claimable(now).filter(pk=run.pk, enqueued_at=run.enqueued_at)
        if same.update(enqueued_at=now):
            task_queue.start_run(run.pk, run.worker)
            triggered += 1
    return triggered


def expire_dead_owner(run: Run) -> bool:
    """End the lease of a supervisor that ran on this host and lives no more."""
    if run.state != Run.State.RUNNING or not processes.known_dead(run.owner):
        return False
    past = timezone.now() - timedelta(seconds=1)
    return bool(Run.objects.held(run).update(lease_until=past, enqueued_at=None))


def give_up_exhausted(pk: int | None = None) -> int:
    """Fail runs that nobody holds and that were tried too often; return how many."""
    runs = Run.objects.exhausted(timezone.now())
    failed = 0
    for run in runs if pk is None else runs.filter(pk=pk):
        error = f"Gave up after {run.attempts} attempts. {run.error}".strip()
        with transaction.atomic():
            same = Run.objects.exhausted(timezone.now()).filter(pk=run.pk, fence=run.fence)
            failed += set_state(run, Run.State.FAILED, rows=same, error=error)
    return failed


def close_cancelled() -> None:
    """Finish the cancelling of runs whose supervisor is gone."""
    now = timezone.now()
    gone = Run.objects.filter(state=Run.State.RUNNING, cancel_requested=True, lease_until__lt=now)
    for run in gone:
        # First the processes: a run that is called cancelled must not train on.
        processes.stop_marked(str(run.uuid))
        with transaction.atomic():
            # The fence: a supervisor may have claimed it meanwhile.
            rows = gone.filter(pk=run.pk, fence=run.fence)
            set_state(run, Run.State.CANCELLED, rows=rows, error="Cancelled.")
