"""Pairs with a known answer: hidden among the others, or in the qualification."""

from __future__ import annotations

from django.db import models

from annotate.models.assignment import Choice
from annotate.models.membership import Membership
from annotate.models.pair import Pair


class Gold(models.Model):
    """The right answer to a pair, and why.

    The pair's kind is gold. A silent one is offered among the others and looks like them; one
    for the qualification is asked there, with the explanation as feedback, and nowhere else.
    """

    pair = models.OneToOneField(Pair, on_delete=models.CASCADE, related_name="gold")
    expected = models.CharField(max_length=10, choices=Choice.choices)
    explanation = models.TextField(blank=True, help_text="Shown in the qualification only.")
    qualification = models.BooleanField(default=False)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)


class QualificationAnswer(models.Model):
    """One answer in the qualification. No vote: it never enters labels or agreement."""

    member = models.ForeignKey(
        Membership, on_delete=models.CASCADE, related_name="qualification_answers"
    )
    gold = models.ForeignKey(Gold, on_delete=models.CASCADE, related_name="answers")
    attempt = models.PositiveSmallIntegerField(default=1)
    left = models.CharField(max_length=1)
    choice = models.CharField(max_length=10, choices=Choice.choices)
    correct = models.BooleanField()
    answered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["member", "gold", "attempt"], name="one_answer_per_attempt"
            ),
        ]
