"""Runs: supervised processes, the stages they finished, and the workers that supervise them."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, JSONField, Q, TextChoices
from django.db.models.functions import Coalesce
from django.utils import timezone


class RunKind(StrEnum):
    """Kinds of runs. All but a round's have one stage, of the same name; the names are stored."""

    ROUND = "round"
    STARTER = "starter"
    FIRST_PAIRS = "first_pairs"
    COMPARE = "compare"
    PUSH = "push"
    COMPLETIONS = "completions"
    PREVIEW = "preview"
    CHECK = "check"
    AI_VOTES = "ai_votes"


class Worker(TextChoices):
    """Kinds of workers: the one of short jobs, and those that train."""

    SHORT = "short"
    GPU = "gpu"


class Lost(Exception):
    """The run has another holder, or none: its former one must not write any more."""


class RunQuerySet(models.QuerySet["Run"]):
    def claimable(self, now: datetime) -> RunQuerySet:
        """Runs that wait for a supervisor, or whose supervisor let the lease run out."""
        free = Q(state=Run.State.QUEUED) | Q(state=Run.State.RUNNING, lease_until__lt=now)
        return self.filter(free, cancel_requested=False, attempts__lt=F("max_attempts"))

    def claim(self, pk: int, *, owner: str) -> Run | None:
        """Take one run over, or None when somebody else has it.

        One conditional update: of any number of callers exactly one gets the new fence.
        """
        now = timezone.now()
        # The condition is in the update: what was read before it may be another's by now.
        taken = (
            self.filter(pk=pk)
            .claimable(now)
            .update(
                state=Run.State.RUNNING,
                owner=owner,
                fence=F("fence") + 1,
                attempts=F("attempts") + 1,
                lease_until=now + Run.LEASE,
                heartbeat_at=now,
                started_at=Coalesce("started_at", now),
                finished_at=None,
                exit_code=None,
                error="",
            )
        )
        return self.get(pk=pk, owner=owner) if taken else None

    def held(self, run: Run) -> RunQuerySet:
        """The row, as long as `run` (owner and fence) is still its holder."""
        # Owner and fence: the same process may have lost the run and claimed it again.
        return self.filter(pk=run.pk, owner=run.owner, fence=run.fence, state=Run.State.RUNNING)

    def write(self, run: Run, **fields: Any) -> None:
        """Update the row as its holder.

        Raises:
            Lost: it is not the holder any more; nothing was written.
        """
        if not self.held(run).update(**fields):
            raise Lost(f"{run} has another holder")

    def beat(self, run: Run) -> bool:
        """Renew the lease; False when it was lost or the run shall be cancelled."""
        now = timezone.now()
        live = self.held(run).filter(cancel_requested=False)
        return bool(live.update(lease_until=now + Run.LEASE, heartbeat_at=now))

    def exhausted(self, now: datetime) -> RunQuerySet:
        """Runs without a holder that may not be tried again."""
        free = Q(state=Run.State.QUEUED) | Q(state=Run.State.RUNNING, lease_until__lt=now)
        return self.filter(free, cancel_requested=False, attempts__gte=F("max_attempts"))


class Run(models.Model):
    """One supervised process and its directory; the record that Huey only triggers.

    Claimed by a conditional update that raises `fence`; every later write names owner and
    fence, so a supervisor that lost its lease can never write again.
    """

    class State(TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    LEASE = timedelta(seconds=60)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(
        max_length=20, default=RunKind.ROUND, help_text="See training.runs.run_kinds."
    )
    round = models.ForeignKey(
        "training.Round", on_delete=models.CASCADE, null=True, related_name="runs"
    )
    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="runs")
    worker = models.CharField(
        max_length=5,
        choices=Worker.choices,
        default=Worker.GPU,
        help_text="Supervises it: gpu where it computes, short where servers do.",
    )
    options: JSONField[dict[str, Any]] = JSONField(
        default=dict, help_text="Inputs of a run without a round: seed and threads."
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    owner = models.CharField(max_length=200, blank=True)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=20)
    cancel_requested = models.BooleanField(default=False)
    host = models.CharField(max_length=200, blank=True)
    pid = models.PositiveIntegerField(null=True)
    pid_started = models.CharField(max_length=40, blank=True)
    exit_code = models.IntegerField(null=True)
    error = models.TextField(blank=True)
    log_tail = models.TextField(blank=True)
    stage = models.CharField(max_length=40, blank=True)
    step = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    message = models.CharField(max_length=200, blank=True)
    enqueued_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="running") | (~Q(owner="") & Q(lease_until__isnull=False)),
                name="a_running_run_is_held",
            ),
            models.UniqueConstraint(
                fields=["project", "kind"],
                condition=Q(kind__in=[RunKind.STARTER, RunKind.FIRST_PAIRS]),
                name="one_run_of_each_kind_before_the_first_round",
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(kind=RunKind.COMPARE, state__in=["queued", "running"]),
                name="one_live_comparison_per_project",
            ),
            models.UniqueConstraint(
                fields=["project", "kind"],
                condition=Q(
                    kind__in=[RunKind.COMPLETIONS, RunKind.PREVIEW], state__in=["queued", "running"]
                ),
                name="one_live_writer_of_completions_per_project",
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(kind=RunKind.CHECK, state__in=["queued", "running"]),
                name="one_live_check_of_a_model_per_project",
            ),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(kind=RunKind.AI_VOTES, state__in=["queued", "running"]),
                name="one_live_run_of_ai_votes_per_project",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.uuid}"

    @property
    def final(self) -> bool:
        """True when nothing happens to it any more, unless an admin retries it."""
        return self.state in (Run.State.DONE, Run.State.FAILED, Run.State.CANCELLED)

    @property
    def directory(self) -> Path:
        """Folder of the run, named by its UUID."""
        return Path(settings.HOME) / "runs" / str(self.uuid)


class StageResult(models.Model):
    """A finished stage's numbers; its presence means its effect was applied."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="stages")
    stage = models.CharField(max_length=40)
    metrics: models.JSONField[dict[str, float]] = models.JSONField(default=dict)
    measured: models.JSONField[dict[str, float]] = models.JSONField(
        default=dict, help_text="Seconds, peak memory in GiB, tokens: what it took."
    )
    finished_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "stage"], name="stage_applied_once"),
        ]


class Metric(models.Model):
    """One step of one stage, for the curves."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    stage = models.CharField(max_length=40)
    step = models.PositiveIntegerField()
    values: models.JSONField[dict[str, float]] = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "stage", "step"], name="metric_once"),
        ]


class WorkerBeat(models.Model):
    """The time at which each kind of worker was last seen: a dead worker cannot report itself."""

    kind = models.CharField(max_length=10, primary_key=True, help_text="short or gpu")
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    seen_at = models.DateTimeField()
