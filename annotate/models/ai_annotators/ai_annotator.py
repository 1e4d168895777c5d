"""Annotators that are models, and their votes.

The votes have a table of their own, so that nothing which counts people's votes can count them by
mistake: no slot of a pair, no label, no agreement, no gate, no payment knows of it.
"""

from __future__ import annotations

import math
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from annotate.models.dataset_version import DatasetVersion
from annotate.models.pair import Pair
from annotate.models.project import Project

SURE = math.log(4)
"""The least |margin| of a sure vote by a reward model: a probability of .8."""


class AiAnnotator(models.Model):
    """A model that votes on a project's pairs, with the bounds of what it may cost."""

    class Kind(models.TextChoices):
        REWARD = "reward", "Reward model"
        CHAT = "chat", "Chat model"

    # Without an index of its own: that of `ai_annotator_once` begins with it.
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="ai_annotators", db_index=False
    )
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    model = models.CharField(max_length=200, help_text="The model's name, for people to read.")
    source: models.JSONField[dict[str, Any]] = models.JSONField(
        help_text="The model as runs know it: a server's address, or the number of a version. "
        "Never a key."
    )
    constitution = models.TextField(
        blank=True, help_text="The principles that a chat model judges by."
    )
    per_minute = models.PositiveIntegerField(default=60, help_text="Requests a minute at most.")
    most_requests = models.PositiveIntegerField(
        null=True, help_text="Requests in all; empty is no bound, as for a model here."
    )
    most_tokens = models.PositiveBigIntegerField(
        null=True, help_text="Tokens in and out in all; empty is no bound."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    retired_at = models.DateTimeField(
        null=True, help_text="It votes no more, and its votes are used nowhere."
    )

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="ai_annotator_once"),
            models.CheckConstraint(
                condition=Q(per_minute__gt=0), name="ai_annotator_asks_at_some_pace"
            ),
            # A constitution is what makes the judgements of a chat model the project's own.
            models.CheckConstraint(
                condition=Q(kind="reward") | (Q(kind="chat") & ~Q(constitution="")),
                name="a_chat_model_has_a_constitution",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AiVoteQuerySet(models.QuerySet["AiVote"]):
    def of(self, project: Project) -> AiVoteQuerySet:
        """Votes of the annotators of a project that were not retired."""
        return self.filter(annotator__project=project, annotator__retired_at=None)

    def for_a_side(self) -> AiVoteQuerySet:
        """Those that name a better reply."""
        return self.filter(choice__in=AiVote.SIDES)

    def sure(self) -> AiVoteQuerySet:
        """Those for a side of which the model was sure: a chat model named it in both orders, a
        reward model gives it a probability of at least .8."""
        by_far = Q(margin=None) | Q(margin__gte=SURE) | Q(margin__lte=-SURE)
        return self.for_a_side().filter(by_far)

    def known_to(self, version: DatasetVersion) -> AiVoteQuerySet:
        """Those cast before a dataset version was made, so that it gives the same rows later."""
        return self.filter(cast_at__lte=version.created_at)

    def that_teach(self) -> AiVoteQuerySet:
        """Those that may enter training: never on pairs that measure."""
        return self.filter(
            pair__kind__in=Pair.TEACHING, pair__prompt__held_out=False, choice__in=AiVote.VOTES
        ).exclude(pair__state=Pair.State.RETIRED)


class AiVote(models.Model):
    """The judgement of one model on one pair, asked in both orders. It never changes."""

    class Choice(models.TextChoices):
        A = "a", "A"
        B = "b", "B"
        TIE = "tie", "About the same"
        NONE = "none", "No verdict"

    SIDES = (Choice.A, Choice.B)
    VOTES = (Choice.A, Choice.B, Choice.TIE)

    # Without an index of its own: that of `ai_vote_once` begins with it.
    annotator = models.ForeignKey(
        AiAnnotator, on_delete=models.CASCADE, related_name="votes", db_index=False
    )
    pair = models.ForeignKey(Pair, on_delete=models.CASCADE, related_name="ai_votes")
    choice = models.CharField(
        max_length=4,
        choices=Choice.choices,
        help_text="A tie where the two orders named different replies; no verdict where one of "
        "them named none.",
    )
    there = models.CharField(
        max_length=4, blank=True, help_text="The reply named with A shown first: a, b or nothing."
    )
    back = models.CharField(max_length=4, blank=True, help_text="The same with B shown first.")
    margin = models.FloatField(null=True, help_text="Logit of A over B, by a reward model.")
    run = models.UUIDField(help_text="The run that asked.")
    cast_at = models.DateTimeField(auto_now_add=True)

    objects = AiVoteQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["annotator", "pair"], name="ai_vote_once"),
            models.CheckConstraint(
                condition=~Q(choice__in=["a", "b"]) | Q(there=F("choice"), back=F("choice")),
                name="an_ai_vote_for_a_side_is_one_in_both_orders",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.annotator}: {self.choice}"
