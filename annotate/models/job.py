"""Jobs: imports and exports that run in a worker, watched by those who asked for them.

The row is the record; a task in a queue only triggers it. A job without a living holder is taken
over by the next one, so what it does may be done again: imports find their rows by content,
exports are written under a temporary name.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.dispatch import Signal
from django.utils import timezone

from annotate.models.project import Project

if TYPE_CHECKING:
    from annotate.models.dataset_version import DatasetVersion

SILENCE = timedelta(seconds=30)
"""A running job that has said nothing for so long has lost its process."""

job_waiting = Signal()
"""Sent with `job` when one waits for a worker; whoever has workers listens."""

Self = TypeVar("Self", bound="Job")


class JobQuerySet(models.QuerySet[Self]):
    def unfinished(self) -> JobQuerySet[Self]:
        return self.filter(state__in=(Job.State.WAITING, Job.State.RUNNING))

    def claimable(self, now: datetime) -> JobQuerySet[Self]:
        """Jobs that wait, and jobs whose process has fallen silent, oldest first."""
        silent = Q(state=Job.State.RUNNING, heartbeat_at__lt=now - SILENCE, foreground=False)
        return self.filter(Q(state=Job.State.WAITING) | silent).order_by("pk")

    def abandoned(self, now: datetime) -> JobQuerySet[Self]:
        """Jobs of commands that were ended: nobody takes over what somebody broke off."""
        silent = Q(state=Job.State.RUNNING, heartbeat_at__lt=now - SILENCE)
        return self.filter(silent, foreground=True)

    def claim(self, pk: int) -> Self | None:
        """Take one job, if it is still to be had; its fence tells its earlier holders to stop."""
        now = timezone.now()
        taken = self.claimable(now).filter(pk=pk).order_by()
        started = models.functions.Coalesce("started_at", models.Value(now))
        if not taken.update(
            state=Job.State.RUNNING,
            fence=F("fence") + 1,
            attempts=F("attempts") + 1,
            heartbeat_at=now,
            started_at=started,
        ):
            return None
        return self.get(pk=pk)


class Job(models.Model):
    """The state and progress of one piece of work for a project.

    waiting -> running -> done, failed or cancelled. A held one is its owner's turn: no worker
    takes it before they have said more.
    """

    class State(models.TextChoices):
        HELD = "held", "Held"
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    FINISHED = (State.DONE, State.FAILED, State.CANCELLED)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="%(class)ss")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    done = models.PositiveBigIntegerField(default=0, help_text="Rows worked through.")
    share = models.FloatField(default=0.0, help_text="Of the whole, 0 to 1, as far as known.")
    error = models.TextField(blank=True, help_text="Why it failed, in words.")
    cancel_asked = models.BooleanField(default=False)
    foreground = models.BooleanField(
        default=False, help_text="Held by a command, and not taken over when that ends."
    )
    fence = models.PositiveIntegerField(default=0, help_text="Raised by each holder.")
    attempts = models.PositiveSmallIntegerField(
        default=0, help_text="Holders since it was put in the queue."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(null=True, help_text="Since when it waits for a worker.")
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ["-pk"]

    @property
    def finished(self) -> bool:
        return self.state in self.FINISHED


class Import(Job):
    """A file, how its rows are read, and what came of it.

    What an import added names it (`imported_by`), so it can be taken back as a whole. Each of its
    steps but the first is a job of its own: the file is checked, its owner looks and starts, rows
    are written, and perhaps taken back.
    """

    class Step(models.TextChoices):
        UPLOAD = "upload", "Upload"
        CHECK = "check", "Check"
        WRITE = "write", "Import"
        UNDO = "undo", "Undo"

    step = models.CharField(max_length=6, choices=Step.choices, default=Step.UPLOAD)
    file_name = models.CharField(max_length=255, help_text="As its owner called it.")
    path = models.CharField(
        max_length=1000,
        blank=True,
        help_text="Of the file, below PAIRLOOP_HOME unless it lay on the server already.",
    )
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes, as it was sent.")
    format = models.CharField(max_length=200, blank=True, help_text="What the file was taken for.")
    shape = models.CharField(max_length=200, blank=True, help_text="What its rows were taken for.")
    mapping: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Field of a row -> column of the file, where a person chose."
    )
    options: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="judged (labels or ask), strict, auto."
    )
    report: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    undone_at = models.DateTimeField(null=True, help_text="When what it added was taken back.")


class ImportChange(models.Model):
    """Columns of an older row as they were before an import, so that it can be taken back."""

    class Table(models.TextChoices):
        PROMPT = "prompt", "Prompt"
        COMPLETION = "completion", "Completion"
        RATING = "rating", "Rating"
        PAIR = "pair", "Pair"
        VOTE = "vote", "Vote"

    imported_by = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="changes")
    table = models.CharField(max_length=10, choices=Table.choices)
    row = models.BigIntegerField(help_text="Its number in that table.")
    before: models.JSONField[dict[str, Any]] = models.JSONField(
        help_text="Column -> value before the import."
    )

    class Meta:
        indexes = [models.Index(fields=["table", "row"], name="changes_of_a_row")]


class Export(Job):
    """A dataset version on its way into a file."""

    version: models.ForeignKey[DatasetVersion, DatasetVersion] = models.ForeignKey(
        "DatasetVersion", on_delete=models.CASCADE, related_name="exports"
    )
    format = models.CharField(max_length=40)
    options: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="compression, include_simulated and what the format takes."
    )
    path = models.CharField(
        max_length=255, blank=True, help_text="Of the file below PAIRLOOP_HOME, while it is kept."
    )
    size = models.PositiveBigIntegerField(default=0, help_text="Bytes of the finished file.")
    sha256 = models.CharField(max_length=64, blank=True)
