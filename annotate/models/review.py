"""Decisions, warnings, better answers and messages: all that people say besides votes."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from annotate.models.assignment import Assignment, Choice, LeftCompletion
from annotate.models.membership import Membership
from annotate.models.pair import Pair


class Adjudication(models.Model):
    """A reviewer's decision on a pair. It is the pair's label from then on."""

    class Category(models.TextChoices):
        AMBIGUOUS = "ambiguous", "Ambiguous"
        GUIDELINE_GAP = "guideline_gap", "Guideline gap"
        ANNOTATOR_ERROR = "annotator_error", "Annotator error"
        MODEL_ERROR = "model_error", "Model error"
        BOTH_BAD = "both_bad", "Both bad"

    pair = models.OneToOneField(Pair, on_delete=models.CASCADE, related_name="adjudication")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    choice = models.CharField(max_length=10, choices=Choice.choices)
    strength = models.PositiveSmallIntegerField(default=0)
    category = models.CharField(max_length=20, choices=Category.choices)
    rationale = models.TextField(blank=True)
    decided_at = models.DateTimeField(auto_now=True)


class Flag(models.Model):
    """An annotator's warning about a pair, beside or instead of a vote."""

    class Kind(models.TextChoices):
        UNSAFE = "unsafe", "Unsafe content"
        PII = "pii", "Personal data"
        BROKEN = "broken", "Broken or unreadable"

    pair = models.ForeignKey(Pair, on_delete=models.CASCADE, related_name="flags")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, help_text="When a reviewer looked at it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pair", "annotator", "kind"], name="flag_once"),
        ]


class Rewrite(models.Model):
    """A better answer that an annotator wrote, starting from one of the two."""

    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE, related_name="rewrite")
    based_on = models.CharField(max_length=1, choices=LeftCompletion.choices)
    text = models.TextField()
    updated_at = models.DateTimeField(auto_now=True)


class Message(models.Model):
    """A note from the project's reviewers to one of its members, shown until it is read."""

    member = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="messages")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True)
