"""Moves of a run from state to state, its round with it, each a conditional update of its row."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate import exchange
from training.models import LoopEvent, Round, Run
from training.runs import task_queue


def set_state(run: Run, state: str, *, rows: QuerySet[Run], **fields: Any) -> bool:
    """Move a run, and its round with it, if `rows` still selects it. Needs a transaction."""
    final = state not in (Run.State.QUEUED, Run.State.RUNNING)
    ended = timezone.now() if final else None
    held = {} if state == Run.State.RUNNING else {"owner": "", "lease_until": None}
    # Never run.save(): somebody else may have moved the row since it was read.
    if not rows.update(state=state, finished_at=ended, **held, **fields):
        return False
    if run.round_id is not None:
        Round.objects.filter(pk=run.round_id).update(state=state, finished_at=ended)
    if run.round is not None and final:
        number = run.round.number
        exchange.tell_webhooks(
            run.project_id,
            exchange.WebhookEvent.ROUND_FINISHED,
            {"round": number, "state": state},
            {"url": ("round", number), "api_url": ("api-rounds",)},
        )
        LoopEvent.objects.tell(run.project_id, state, fields.get("error", ""), round_=run.round)
    return True


def cancel(runs: QuerySet[Run]) -> bool:
    """Stop those of the runs that are live; False when none is.

    A running one ends when its supervisor has stopped the process, at the edge of a step.
    """
    with transaction.atomic():
        for run in runs.filter(state=Run.State.QUEUED):
            queued = runs.filter(pk=run.pk, state=Run.State.QUEUED)
            if set_state(run, Run.State.CANCELLED, rows=queued, error="Cancelled."):
                return True
        return bool(runs.filter(state=Run.State.RUNNING).update(cancel_requested=True))


def reopen(run: Run, *, enqueue: bool = True) -> bool:
    """Make a failed or cancelled run claimable again. Needs a transaction."""
    closed = Run.objects.filter(pk=run.pk, state__in=[Run.State.FAILED, Run.State.CANCELLED])
    fields: dict[str, Any] = {"attempts": 0, "cancel_requested": False, "error": ""}
    if not set_state(run, Run.State.QUEUED, rows=closed, **fields):
        return False
    if enqueue:
        task_queue.hand_to_worker(run)
    return True
