"""The loop of a project by itself: when rounds may start, and what happened meanwhile."""

from __future__ import annotations

from datetime import datetime, time, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from training.models.training_round import Round


class LoopSchedule(models.Model):
    """Bounds of the rounds that a project starts by itself, and who is told of them.

    The triggers themselves (`round_after`, `round_schedule`) are settings of the project.
    """

    WINDOW = timedelta(days=7)
    """In which the bounds of rounds and hours count."""

    project = models.OneToOneField(
        "annotate.Project", on_delete=models.CASCADE, related_name="loop_schedule"
    )
    zone = models.CharField(
        max_length=64, blank=True, help_text="IANA name; empty is the server's time zone."
    )
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    most_rounds = models.PositiveIntegerField(
        null=True, blank=True, help_text="In seven days; empty is no bound."
    )
    most_hours = models.FloatField(
        null=True, blank=True, help_text="Of training in seven days; empty is no bound."
    )
    stop_after = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Rounds in a row without a promoted policy; empty: never."
    )
    paused_at = models.DateTimeField(null=True)
    paused_because = models.CharField(max_length=200, blank=True)
    resumed_at = models.DateTimeField(
        null=True, help_text="Rounds before that are no reason to stop any more."
    )
    mail_to: models.ManyToManyField[Any, Any] = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+"
    )
    site = models.CharField(
        max_length=300, blank=True, help_text="Scheme and host of links in mail."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="quiet_hours_have_both_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"schedule of {self.project}"

    @property
    def time_zone(self) -> tzinfo:
        return ZoneInfo(self.zone) if self.zone else timezone.get_default_timezone()

    def is_quiet(self, now: datetime) -> bool:
        """True between the quiet hours' ends, which may lie on both sides of midnight."""
        if self.quiet_from is None or self.quiet_until is None:
            return False
        here = timezone.localtime(now, self.time_zone).time()
        return _between(here, self.quiet_from, self.quiet_until)


class LoopEventQuerySet(models.QuerySet["LoopEvent"]):
    def tell(
        self, project_id: int, kind: str, text: str = "", *, round_: Round | None = None
    ) -> LoopEvent:
        """Write down that something happened, in the transaction that makes it so."""
        return self.create(project_id=project_id, kind=kind, text=text[:1000], round=round_)

    def to_mail(self, since: datetime) -> LoopEventQuerySet:
        """Those that people asked to be told of, and were not yet."""
        return self.filter(mailed_at=None, at__gt=since, kind__in=LoopEvent.MAILED)


class LoopEvent(models.Model):
    """Something that the loop did or met, for those who were not watching."""

    class Kind(models.TextChoices):
        STARTED = "started", "Round started by itself"
        DONE = "done", "Round done"
        FAILED = "failed", "Round failed"
        CANCELLED = "cancelled", "Round cancelled"
        PROMOTED = "promoted", "Policy promoted"
        REFUSED = "refused", "Policy not promoted"
        WAITING = "waiting", "Policy waits for people"
        DEMOTED = "demoted", "Policy demoted"
        PAUSED = "paused", "Loop paused"
        RESUMED = "resumed", "Loop resumed"

    MAILED = (Kind.FAILED, Kind.PROMOTED, Kind.REFUSED, Kind.WAITING, Kind.DEMOTED, Kind.PAUSED)

    project = models.ForeignKey(
        "annotate.Project", on_delete=models.CASCADE, related_name="loop_events"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    text = models.CharField(max_length=1000, blank=True)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, null=True, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    mailed_at = models.DateTimeField(null=True)

    objects = LoopEventQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["project", "-id"], name="events_of_a_loop")]

    def __str__(self) -> str:
        return f"{self.project}: {self.kind}"


def _between(here: time, start: time, end: time) -> bool:
    return start <= here < end if start <= end else here >= start or here < end
