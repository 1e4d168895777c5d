"""Labels: what the votes on a pair amount to."""

from __future__ import annotations

from django.db import models

from annotate.models.pair import Pair


class Label(models.Model):
    """The label of a pair: the aggregate of its standing votes."""

    class Outcome(models.TextChoices):
        A = "a", "A"
        B = "b", "B"
        TIE = "tie", "Tie"
        SPLIT = "split", "No majority"

    pair = models.OneToOneField(Pair, on_delete=models.CASCADE, related_name="label")
    outcome = models.CharField(max_length=6, choices=Outcome.choices)
    vote_fraction = models.FloatField(help_text="Share of votes for A, ties counting half.")
    margin = models.FloatField(
        null=True,
        help_text="|mean signed strength| / 3, in 0 to 1; empty where no strength is known.",
    )
    n_votes = models.PositiveSmallIntegerField()
    method = models.CharField(
        max_length=20, default="majority", help_text="majority, or adjudicated by a reviewer."
    )
    # What the votes say once the annotators' reliabilities are known; filled in by a job.
    p_a = models.FloatField(null=True)
    p_tie = models.FloatField(null=True)
    p_b = models.FloatField(null=True)
    updated_at = models.DateTimeField(auto_now=True)
