"""Rounds, and the plan that says how a project trains."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, When


class Plan(models.Model):
    """A project's training settings: those that differ from the engine's defaults."""

    project = models.OneToOneField(
        "annotate.Project", on_delete=models.CASCADE, related_name="training_plan"
    )
    config: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Settings that somebody chose in place of the preset's."
    )
    preset = models.CharField(
        max_length=20, default="balanced", help_text="Of training.rlhf.config.PRESETS."
    )
    operators: models.JSONField[dict[str, Any] | None] = models.JSONField(
        null=True,
        help_text="Those of them that only the command line may choose, by their dotted names.",
    )
    reranked_votes = models.PositiveIntegerField(
        default=0, help_text="Votes the queue's order was last computed from."
    )
    reranked_run = models.UUIDField(null=True, help_text="Run whose features those votes met.")
    ranking = models.UUIDField(
        null=True,
        help_text="The last ranking of all pairs: only its worker follows single votes.",
    )

    def __str__(self) -> str:
        return f"training plan of {self.project}"


class RoundQuerySet(models.QuerySet["Round"]):
    def live(self) -> RoundQuerySet:
        """Rounds that wait or run; a project has at most one."""
        return self.filter(state__in=Round.LIVE)

    def live_and_last(self) -> tuple[Round | None, Round | None]:
        """One project's live round, and its last one; an older one is live while it is retried."""
        live_first = Case(When(state__in=Round.LIVE, then=0), default=1)
        rounds = list(self.order_by(live_first, "-number")[:2])
        live = next((one for one in rounds if one.state in Round.LIVE), None)
        return live, max(rounds, key=lambda one: one.number, default=None)


class Round(models.Model):
    """One turn of the loop of one project."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    LIVE = (State.QUEUED, State.RUNNING)

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    trigger = models.CharField(max_length=20, default="admin")
    dataset_version = models.PositiveIntegerField(null=True)
    config: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    preset = models.CharField(max_length=20, blank=True, help_text="Empty: before there were any.")
    chosen: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Settings that somebody chose in place of the preset's."
    )
    estimate: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Memory and time that were expected when it started."
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects = RoundQuerySet.as_manager()

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

    @property
    def name(self) -> str:
        """Source of what the round adds to the queue, for example round-7."""
        return f"round-{self.number}"
