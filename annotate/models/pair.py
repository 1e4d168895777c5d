"""Pairs, the counts that decide their fate, and the label their votes amount to."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from annotate.models.content import Completion, Prompt
from annotate.models.project import Project


class Pair(models.Model):
    """Two completions of one prompt, and how many votes they still want.

    `open_slots` is the number of places nobody holds; with its CHECK it makes collecting more
    votes than asked for impossible. The counts are of standing, non-surplus votes.
    """

    class Kind(models.TextChoices):
        NORMAL = "normal", "Normal"
        OVERLAP = "overlap", "Overlap"
        EVALUATION = "evaluation", "Evaluation"
        GOLD = "gold", "Gold"
        RETEST = "retest", "Retest"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        RESOLVED = "resolved", "Resolved"
        ADJUDICATE = "adjudicate", "To adjudicate"
        RETIRED = "retired", "Retired"

    class Stream(models.TextChoices):
        RANDOM = "random", "Random"
        ACTIVE = "active", "Active"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="pairs")
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="pairs")
    completion_a = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="+")
    completion_b = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=130, help_text="Natural key: makes adding idempotent.")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.NORMAL)
    state = models.CharField(max_length=12, choices=State.choices, default=State.OPEN)
    stream = models.CharField(
        max_length=8,
        choices=Stream.choices,
        default=Stream.RANDOM,
        help_text="How the pair got into the queue: drawn at random, or chosen by acquisition.",
    )
    source = models.CharField(max_length=40, default="import")
    priority = models.FloatField(default=0.0)
    # Uniform order of the random stream, drawn once.
    shuffle = models.FloatField(default=0.0)
    open_slots = models.PositiveSmallIntegerField(default=2)
    wanted = models.PositiveSmallIntegerField(default=2, help_text="Votes asked for at first.")
    limit = models.PositiveSmallIntegerField(default=3, help_text="Votes asked for at most.")
    agree = models.PositiveSmallIntegerField(default=2, help_text="Equal votes that resolve it.")
    n_a = models.PositiveSmallIntegerField(default=0)
    n_b = models.PositiveSmallIntegerField(default=0)
    n_tie = models.PositiveSmallIntegerField(default=0)
    cast = models.PositiveIntegerField(default=0, help_text="Votes ever cast; numbers them.")
    retest_of = models.ForeignKey("self", on_delete=models.CASCADE, null=True, related_name="+")
    only_for = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "key"], name="pair_once"),
            models.CheckConstraint(
                condition=models.Q(open_slots__gte=0), name="pair_never_over_collects"
            ),
            models.CheckConstraint(
                condition=~models.Q(completion_a=models.F("completion_b")),
                name="pair_compares_two_completions",
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "-priority", "id"],
                condition=models.Q(open_slots__gt=0),
                name="pair_active_queue",
            ),
            models.Index(
                fields=["project", "shuffle", "id"],
                condition=models.Q(open_slots__gt=0),
                name="pair_random_queue",
            ),
            models.Index(fields=["project", "state"], name="pair_by_state"),
        ]

    def __str__(self) -> str:
        return f"pair {self.pk}"

    @property
    def votes(self) -> int:
        return self.n_a + self.n_b + self.n_tie


class Label(models.Model):
    """What the standing votes of a pair amount to."""

    class Outcome(models.TextChoices):
        A = "a", "A"
        B = "b", "B"
        TIE = "tie", "Tie"
        SPLIT = "split", "No majority"

    pair = models.OneToOneField(Pair, on_delete=models.CASCADE, related_name="label")
    outcome = models.CharField(max_length=6, choices=Outcome.choices)
    vote_fraction = models.FloatField(help_text="Share of votes for A, ties counting half.")
    margin = models.FloatField(help_text="|mean signed strength| / 3, in 0 to 1.")
    n_votes = models.PositiveSmallIntegerField()
    method = models.CharField(max_length=20, default="majority")
    updated_at = models.DateTimeField(auto_now=True)
