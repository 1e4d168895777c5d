"""Model versions: what training made, and what was decided about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

LONGEST_PATH = 300


class ModelVersionQuerySet(models.QuerySet["ModelVersion"]):
    def policies(self) -> ModelVersionQuerySet:
        return self.filter(kind=ModelVersion.POLICY)

    def rewards(self) -> ModelVersionQuerySet:
        return self.filter(kind=ModelVersion.REWARD)

    def promoted(self) -> ModelVersionQuerySet:
        return self.filter(state=ModelVersion.State.PROMOTED)

    def with_rounds(self) -> ModelVersionQuerySet:
        """With their rounds, of which lists show the number and not all that is stored."""
        return self.select_related("run__round").defer("run__log_tail", "run__round__config")


class ModelVersion(models.Model):
    """A saved checkpoint with its lineage."""

    class State(models.TextChoices):
        CANDIDATE = "candidate", "Candidate"
        PROMOTED = "promoted", "Promoted"
        RETIRED = "retired", "Retired"

    POLICY, REWARD = "policy", "reward"

    project = models.ForeignKey(
        "annotate.Project", on_delete=models.CASCADE, related_name="model_versions"
    )
    kind = models.CharField(max_length=10, help_text="policy or reward")
    number = models.PositiveIntegerField(help_text="0 is the starter.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.CANDIDATE)
    path = models.CharField(
        max_length=LONGEST_PATH, help_text="Relative to PAIRLOOP_HOME, or a hub id."
    )
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="children")
    run = models.ForeignKey(
        "training.Run", on_delete=models.PROTECT, null=True, related_name="models"
    )
    dataset_version = models.PositiveIntegerField(null=True)
    metrics: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    gates: models.JSONField[list[dict[str, Any]]] = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True)
    pruned_at = models.DateTimeField(null=True, help_text="When its weights were removed.")
    note = models.TextField(blank=True, help_text="Why it is not, or no longer, promoted.")

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "kind"],
                condition=Q(state="promoted"),
                name="one_promoted_version_per_kind",
            ),
            models.UniqueConstraint(
                fields=["project", "kind", "number"], name="model_version_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number}"

    def get_state_display(self) -> str:  # type: ignore[no-redef]  # Django lets a model say it.
        """Its state as pages name it: the promoted one is in use."""
        return "In use" if self.state == self.State.PROMOTED else str(self.State(self.state).label)

    @property
    def added(self) -> bool:
        """True when it was trained elsewhere and is not what the project began with."""
        return self.run_id is None and self.number > 0

    @property
    def location(self) -> str:
        """Folder as an absolute path, its weights there or gone, or the hub id."""
        folder = Path(settings.HOME) / self.path
        return str(folder) if folder.is_dir() or not self._may_be_hub_id else self.path

    @property
    def _may_be_hub_id(self) -> bool:
        """False for weights of runs, which lie in the home, and for those that were brought, in
        `models/`; an id has an owner at most."""
        kept = self.run_id is not None or self.pruned_at is not None
        return not (kept or self.path.startswith("models/")) and self.path.count("/") < 2


class Decision(models.Model):
    """A change of a version's state and why, kept for good; `note` has the latest alone."""

    class By(models.TextChoices):
        MODEL = "model", "A model, by the gates"
        PEOPLE = "people", "People, by blind comparisons"
        ADMIN = "admin", "An admin"

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="decisions")
    state = models.CharField(max_length=10, choices=ModelVersion.State.choices)
    note = models.TextField(blank=True)
    decided_by = models.CharField(
        max_length=6, choices=By.choices, blank=True, help_text="Empty: before that was kept."
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.version}: {self.state}"
