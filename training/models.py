"""Rounds, runs and model versions: the record of what training did."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q


class Round(models.Model):
    """One turn of the loop of one project."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    trigger = models.CharField(max_length=20, default="admin")
    dataset_version = models.PositiveIntegerField(null=True)
    config: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="round_number_once"),
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(state__in=["queued", "running"]),
                name="one_live_round_per_project",
            ),
        ]

    def __str__(self) -> str:
        return f"round {self.number}"


class Run(models.Model):
    """One supervised process and its directory; the record that Huey only triggers.

    Claimed by a conditional update that raises `fence`; every later write names owner and
    fence, so a supervisor that lost its lease can never write again.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=20, default="round", help_text="round or starter")
    round = models.ForeignKey(Round, on_delete=models.CASCADE, null=True, related_name="runs")
    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="runs")
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    owner = models.CharField(max_length=80, blank=True)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=20)
    cancel_requested = models.BooleanField(default=False)
    host = models.CharField(max_length=120, blank=True)
    pid = models.PositiveIntegerField(null=True)
    pid_started = models.CharField(max_length=40, blank=True)
    exit_code = models.IntegerField(null=True)
    error = models.TextField(blank=True)
    log_tail = models.TextField(blank=True)
    stage = models.CharField(max_length=40, blank=True)
    step = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    message = models.CharField(max_length=200, blank=True)
    ingested: models.JSONField[list[str]] = models.JSONField(default=list)
    enqueued_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"run {self.uuid}"

    @property
    def directory(self) -> Path:
        """Folder of the run, named by its UUID."""
        return Path(settings.HOME) / "runs" / str(self.uuid)


class StageResult(models.Model):
    """A finished stage's numbers; its presence means its effect was applied."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="stages")
    stage = models.CharField(max_length=40)
    metrics: models.JSONField[dict[str, float]] = models.JSONField(default=dict)
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


class ModelVersion(models.Model):
    """A saved checkpoint with its lineage."""

    class State(models.TextChoices):
        CANDIDATE = "candidate", "Candidate"
        PROMOTED = "promoted", "Promoted"
        RETIRED = "retired", "Retired"

    project = models.ForeignKey(
        "annotate.Project", on_delete=models.CASCADE, related_name="model_versions"
    )
    kind = models.CharField(max_length=10, help_text="policy or reward")
    number = models.PositiveIntegerField(help_text="0 is the starter.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CANDIDATE)
    path = models.CharField(max_length=300, help_text="Relative to PAIRLOOP_HOME, or a hub id.")
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="children")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="models")
    dataset_version = models.PositiveIntegerField(null=True)
    metrics: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    gates: models.JSONField[list[dict[str, Any]]] = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind", "number"], name="model_version_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"
