"""The playground's trials: a chat, the models that answer it, and their replies."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class TrialQuerySet(models.QuerySet["Trial"]):
    def live(self) -> TrialQuerySet:
        """Trials that wait or are being answered."""
        return self.filter(state__in=[Trial.State.QUEUED, Trial.State.RUNNING])

    def take(self, *, owner: str) -> Trial | None:
        """The oldest trial that waits, for this owner alone; None when none waits."""
        now = timezone.now()
        for pk in self.filter(state=Trial.State.QUEUED).order_by("pk").values_list("pk", flat=True):
            waiting = self.filter(pk=pk, state=Trial.State.QUEUED)
            fields = {"owner": owner, "lease_until": now + Trial.LEASE, "started_at": now}
            if waiting.update(state=Trial.State.RUNNING, **fields):
                return self.select_related("project").get(pk=pk)
        return None

    def held(self, trial: Trial) -> TrialQuerySet:
        """The row, as long as `trial` still has its owner."""
        return self.filter(pk=trial.pk, owner=trial.owner, state=Trial.State.RUNNING)

    def close_lost(self) -> int:
        """Fail trials whose owner went away, and those for which nobody came."""
        now, failed = timezone.now(), {"state": Trial.State.FAILED, "finished_at": timezone.now()}
        lost = self.filter(state=Trial.State.RUNNING, lease_until__lt=now)
        late = self.filter(state=Trial.State.QUEUED, created_at__lt=now - Trial.PATIENCE)
        if not (lost | late).exists():
            return 0  # asked every second: on SQLite even an update of nothing locks out votes
        closed = lost.update(**failed, error="The worker that was answering went away. Ask again.")
        return closed + late.update(**failed, error="No worker took this up in time. Ask again.")

    def forget_old(self) -> int:
        """Drop trials that nobody will look at again."""
        return self.filter(created_at__lt=timezone.now() - Trial.KEPT).delete()[0]


class Trial(models.Model):
    """One chat that somebody tries on some models in the playground."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Writing"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        STOPPED = "stopped", "Stopped"

    LEASE = timedelta(seconds=30)
    PATIENCE = timedelta(minutes=10)
    KEPT = timedelta(days=30)

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="trials")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    messages: models.JSONField[list[dict[str, str]]] = models.JSONField()
    choices: models.JSONField[list[str]] = models.JSONField(
        help_text="Who replies: primary keys of model versions, or the server's name."
    )
    temperature = models.FloatField()
    max_new_tokens = models.PositiveIntegerField()
    seed = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    stage = models.CharField(max_length=20, blank=True, help_text="loading, writing or scoring")
    replies: models.JSONField[list[dict[str, Any]]] = models.JSONField(default=list)
    scorer = models.CharField(max_length=40, blank=True, help_text="The reward model's name.")
    error = models.TextField(blank=True)
    owner = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TrialQuerySet.as_manager()

    class Meta:
        indexes = [
            # The worker looks every second.
            models.Index(
                fields=["id"], condition=Q(state__in=["queued", "running"]), name="trial_live"
            ),
            models.Index(fields=["project", "user", "-id"], name="trial_of_person"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["user"],
                condition=Q(state__in=["queued", "running"]),
                name="one_live_trial_per_person",
            ),
        ]

    def __str__(self) -> str:
        return f"trial {self.uuid}"

    @property
    def live(self) -> bool:
        return self.state in (Trial.State.QUEUED, Trial.State.RUNNING)
