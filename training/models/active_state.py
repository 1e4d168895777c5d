"""The state of active learning in a project, as workers count it and pages show it."""

from __future__ import annotations

from typing import Any

from django.db import models


class ActiveState(models.Model):
    """Figures of the queue's order, and the cause for which it asks at random, if there is one.

    training.active.queue_state writes them when it ranks the pairs; no web request computes any.
    """

    project = models.OneToOneField(
        "annotate.Project", on_delete=models.CASCADE, related_name="active_state"
    )
    cause = models.CharField(
        max_length=20,
        blank=True,
        help_text="Of random order: a value of training.active.fallback_causes.Cause, or empty.",
    )
    since = models.DateTimeField(null=True, help_text="When that cause began.")
    why = models.CharField(max_length=200, blank=True, help_text="Where votes taught no head.")
    acquisition = models.CharField(max_length=20, blank=True)
    votes = models.PositiveIntegerField(default=0, help_text="That the figures rest on.")
    facts: models.JSONField[dict[str, float]] = models.JSONField(
        default=dict, help_text="Of the open pairs' features, by which causes are judged."
    )
    comparison: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Of the two arms; empty where it lacks something."
    )
    lacking = models.CharField(max_length=200, blank=True, help_text="That something.")
    measurable_at = models.PositiveIntegerField(
        null=True, help_text="Votes at which a comparison can be made, as far as that is known."
    )
    compared_votes = models.PositiveIntegerField(default=0)
    compared_run = models.UUIDField(null=True, help_text="Run whose features it was made by.")
    report: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="Learning curve, coverage and map."
    )
    counted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"active learning of {self.project}"
