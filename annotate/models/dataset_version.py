"""Dataset versions: immutable snapshots of a project's votes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import models

from annotate.models.project import Project


class DatasetVersion(models.Model):
    """A numbered snapshot; which votes it holds follows from their frozen_from columns."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="dataset_versions")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, help_text="Of its votes export, simulated included.")
    n_pairs = models.PositiveIntegerField()
    n_votes = models.PositiveIntegerField()
    n_simulated = models.PositiveIntegerField(default=0)
    decisions: models.JSONField[dict[str, list[Any]]] = models.JSONField(
        default=dict,
        help_text="Reviewers' decisions that stood: the pair's id, then choice and strength.",
    )
    people: models.JSONField[dict[str, list[Any]]] = models.JSONField(
        default=dict,
        help_text="Weight, reliability and estimate of each member when it was made, by user id.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    plain_chats: bool | None = None
    """True when its messages have a role and a content alone, once somebody looked; no column."""
    undecided: dict[bool, Sequence[int]] | None = None
    """With and without simulated votes: its pairs without a winner, once somebody read all; no
    column."""

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="dataset_version_once"),
        ]

    @property
    def decided(self) -> dict[int, tuple[str, int]]:
        """Pair id -> (choice, strength) of the reviewers' decisions."""
        return {
            int(pair): (choice, strength) for pair, (choice, strength) in self.decisions.items()
        }

    def __str__(self) -> str:
        return f"{self.project.slug} v{self.number}"
