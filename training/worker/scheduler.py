"""The work of every minute: recover dead runs, release leases, start rounds, refresh the queue.

Safe with any number of schedulers: every step is a conditional update or holds a constraint.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from django.utils import timezone

from annotate import exchange
from training.models import ModelVersion, Trial, WorkerBeat
from training.rounds import automatic_start, loop_mail
from training.runs import crash_recovery, processes, task_queue
from training.runs.task_queue import Kind
from training.versions import people_decision

log = logging.getLogger(__name__)


def tick() -> None:
    """One turn of the scheduler."""
    seen("short")
    _guarded(crash_recovery.recover)
    _guarded(recover_jobs)
    _guarded(recover_webhooks)
    _guarded(exchange.release_expired)
    _guarded(Trial.objects.forget_old)
    _guarded(exchange.drop_old_addresses)
    _guarded(exchange.drop_expired_sessions)
    # Also where rounds start by hand: people's votes order the queue and judge policies there too.
    for project in exchange.live_projects():
        _guarded(exchange.refresh_labels_if_due, project)
        _guarded(exchange.count_annotators_if_due, project)
        _guarded(exchange.count_overview_if_due, project)
        _guarded(exchange.release_evaluators, project)
        _guarded(automatic_start.start_if_due, project)
        _guarded(review, project)
        _guarded(loop_mail.tell_by_mail, project)
        _guarded(task_queue.refresh_order, project.pk)


def seen(kind: Kind) -> None:
    """Write down that this worker lives."""
    WorkerBeat.objects.update_or_create(
        kind=kind,
        defaults={
            "host": processes.this_host(),
            "pid": os.getpid(),
            "seen_at": timezone.now(),
        },
    )


def _guarded(action: Callable[..., Any], *args: Any) -> None:
    """One project's trouble must not keep the others waiting."""
    try:
        action(*args)
    except Exception:
        log.exception("%s failed", action.__name__)


def recover_jobs() -> None:
    """Have jobs taken up whose trigger or whose worker was lost."""
    exchange.tidy_jobs()
    if exchange.waiting_jobs():
        task_queue.take_jobs()


def recover_webhooks() -> None:
    """Have webhooks sent whose time for another try has come, or whose worker was lost."""
    exchange.drop_old_deliveries()
    if exchange.seconds_to_next_webhook() == 0:
        task_queue.send_webhooks()


def review(project: exchange.Project) -> None:
    """Let people's blind comparisons of candidates and of the policy in use count."""
    states = (ModelVersion.State.CANDIDATE, ModelVersion.State.PROMOTED)
    policies = ModelVersion.objects.policies().filter(project=project, number__gt=0)
    for version in policies.filter(state__in=states).select_related("project", "parent"):
        people_decision.review(version)
