"""Rounds that nobody asks for: started when enough fresh labels came in, or by the schedule."""

from __future__ import annotations

import logging
from datetime import datetime, tzinfo

from croniter import CroniterError, croniter
from django.utils import timezone

from annotate import exchange
from training.models import LoopEvent
from training.rounds import schedule_limits, start_and_cancel

log = logging.getLogger(__name__)

TRIGGERS = {"votes": "Enough pairs were resolved.", "schedule": "The schedule said so."}


def start_if_due(project: exchange.Project) -> bool:
    """Start a round when enough labels came in or the schedule says so, and nothing holds it."""
    now = timezone.now()
    schedule_limits.pause_without_gain(project)
    trigger = due(project, now)
    if trigger is None or schedule_limits.held(project, now):
        return False
    try:
        round_ = start_and_cancel.start_round(project, trigger=trigger)
    except start_and_cancel.RoundRefused as refusal:
        log.info("no round of %s: %s", project.slug, refusal)
        return False
    LoopEvent.objects.tell(project.pk, LoopEvent.Kind.STARTED, TRIGGERS[trigger], round_=round_)
    return True


def due(project: exchange.Project, now: datetime) -> str | None:
    """Why a round should start now: "votes", "schedule", or None.

    Neither starts one without pairs that were resolved since the last round's snapshot, so a
    round that failed is not started again and again.
    """
    if project.rounds.live().exists():
        return None
    last = project.rounds.first()
    version = last.dataset_version if last else None
    fresh = exchange.resolved_since(project, version)
    exchange.keep_fresh_pairs(project, version, fresh)
    if project.round_after and fresh >= project.round_after:
        return "votes"
    since = last.created_at if last else project.created_at
    zone = schedule_limits.schedule_of(project).time_zone
    if fresh and project.round_schedule and next_time(project.round_schedule, since, zone) <= now:
        return "schedule"
    return None


def next_time(schedule: str, since: datetime, zone: tzinfo | None = None) -> datetime:
    """The first time after `since` that a cron expression names.

    Args:
        zone: in which it is meant; None is the server's.
    """
    try:
        after: datetime = croniter(schedule, timezone.localtime(since, zone)).get_next(datetime)
    except CroniterError:  # no cron expression, or one of a day that never comes
        log.warning("no time follows from the cron line %r", schedule)
        return datetime.max.replace(tzinfo=since.tzinfo)
    return after
