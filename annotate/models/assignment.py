"""Assignments: a lease and a vote in one row, so that neither can exist twice."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Q

from annotate.models.job import Import
from annotate.models.membership import Membership
from annotate.models.pair import Pair

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from annotate.models.project import Project


MAX_STRENGTH = 3
"""Strength of "much better"; 1 is slightly, 0 negligibly."""

Side = Literal["left", "right"]
ScreenChoice = Literal["left", "right", "tie", "both_bad"]
"""A vote as the screen words it; `Choice` words it about the completions, as it is stored."""


class Choice(models.TextChoices):
    A = "a", "A is better"
    B = "b", "B is better"
    TIE = "tie", "About the same"
    BOTH_BAD = "both_bad", "Both are bad"


class CriteriaAsked(models.TextChoices):
    """The moment at which the criteria of a vote were compared, where its project has any."""

    WITH_PAIR = "with_pair", "With the pair in sight"
    AFTER_PAIR = "after_pair", "After the pair had gone"
    UNASKED = "unasked", "Not asked"


class LeftCompletion(models.TextChoices):
    A = "a", "A on the left"
    B = "b", "B on the left"


_TOLD = Q(imported=False) | Q(stream="")
KNOWN_SIDE = ~Q(left="") & _TOLD
"""Votes of which it is known what was on the left.

Imported votes of earlier releases have a side, a time and an arm that nobody had told; later ones
have no arm.
"""
KNOWN_TIME = Q(voted_at__isnull=False) & _TOLD


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def of_member(self, user: User) -> AssignmentQuerySet:
        """A person's own leases, votes and skips, in projects that still count them as a member."""
        return self.filter(
            annotator=user,
            pair__project__memberships__user=user,
            pair__project__memberships__active=True,
        )

    def in_project(self, project: Project) -> AssignmentQuerySet:
        return self.filter(pair__project=project)

    def leased(self) -> AssignmentQuerySet:
        return self.filter(state=Assignment.State.RESERVED)

    def voted(self) -> AssignmentQuerySet:
        """Votes that were cast and not taken back, surplus ones included."""
        return self.filter(state=Assignment.State.VOTED)

    def standing(self) -> AssignmentQuerySet:
        """Votes that count: cast, not taken back, not surplus."""
        return self.voted().filter(surplus=False)

    def weighing(self) -> AssignmentQuerySet:
        """Without those of people whose weight in the project is 0."""
        weightless = Membership.objects.filter(project=OuterRef("pair__project"), weight=0)
        return self.exclude(annotator__in=weightless.values("user"))

    def last_vote_or_skip(self) -> Assignment | None:
        """The one that undo takes back."""
        done = (Assignment.State.VOTED, Assignment.State.SKIPPED)
        return self.filter(state__in=done).order_by("-acted_at", "-pk").first()

    def for_display(self) -> AssignmentQuerySet:
        return self.select_related(
            "pair", "pair__prompt", "pair__completion_a", "pair__completion_b"
        )


class Assignment(models.Model):
    """One annotator's slot on one pair: a lease, then a vote or a skip.

    reserved -> voted or skipped by the person; reserved -> released when the lease expires.
    Its token and its sides never change, so a request that was repeated or came late still means
    what its author saw.
    The choice is about the completions (a, b), never about the side of the screen.
    """

    class State(models.TextChoices):
        RESERVED = "reserved", "Reserved"
        VOTED = "voted", "Voted"
        SKIPPED = "skipped", "Skipped"
        RELEASED = "released", "Released"

    # Without indexes of their own: `votes_in_order` and `one_place_per_person` begin with them.
    pair = models.ForeignKey(
        Pair, on_delete=models.CASCADE, related_name="assignments", db_index=False
    )
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="assignments",
        db_index=False,
    )
    token = models.UUIDField(default=uuid.uuid4, editable=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RESERVED)
    left = models.CharField(max_length=1, choices=LeftCompletion.choices, blank=True)
    stream = models.CharField(max_length=10, choices=Pair.Stream.choices, blank=True)
    propensity = models.FloatField(
        default=1.0, null=True, help_text="Probability with which this arm was drawn at lease time."
    )
    acquisition = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        help_text="The rule that had ranked the pair, where the active arm leased it.",
    )
    leased_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    choice = models.CharField(max_length=10, choices=Choice.choices, blank=True)
    strength = models.PositiveSmallIntegerField(default=0, null=True)
    reasons: models.JSONField[list[str]] = models.JSONField(default=list)
    comment = models.TextField(blank=True)
    criteria: models.JSONField[dict[str, str]] = models.JSONField(
        default=dict, help_text="Per criterion of the project: a, b or tie."
    )
    criteria_asked = models.CharField(
        max_length=10,
        choices=CriteriaAsked.choices,
        blank=True,
        default="",
        db_default="",
        help_text="Empty where the project had no criteria, or a file does not say.",
    )
    skip_reason = models.CharField(max_length=40, blank=True)
    voted_at = models.DateTimeField(null=True)
    acted_at = models.DateTimeField(
        null=True, help_text="When the person last voted or skipped here; orders undo."
    )
    seq = models.PositiveIntegerField(
        null=True, help_text="Order in which the pair's votes were cast, from 1."
    )
    active_ms = models.PositiveIntegerField(
        null=True, help_text="On the pair with somebody at the page (annotate.people.active_time)."
    )
    first_key_ms = models.PositiveIntegerField(
        null=True, help_text="From the pair's appearance to the first key or touch."
    )
    wall_ms = models.PositiveIntegerField(
        null=True, help_text="From the pair's appearance to the vote, pauses included."
    )
    input = models.CharField(max_length=8, blank=True, help_text="key, click or touch.")
    guideline_version = models.PositiveIntegerField(default=1)
    surplus = models.BooleanField(
        default=False,
        help_text="Holds none of the pair's places: the lease expired and the pair filled.",
    )
    simulated = models.BooleanField(default=False)
    imported = models.BooleanField(
        default=False,
        help_text="From a file. What the file does not say is empty: side, strength, times, arm.",
    )
    metadata: models.JSONField[dict[str, Any]] = models.JSONField(
        default=dict, help_text="What an imported source says of this vote besides, as it was."
    )
    imported_by = models.ForeignKey(
        Import, on_delete=models.SET_NULL, null=True, related_name="assignments", db_index=False
    )
    revision = models.PositiveSmallIntegerField(default=1)
    frozen_from = models.PositiveIntegerField(
        null=True, help_text="First dataset version that holds this standing vote."
    )

    # The comparisons of a vote that was just taken back, by criterion: a, b or tie.
    taken_back: Mapping[str, str] = MappingProxyType({})

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["annotator", "pair"], name="one_place_per_person"),
            # Not of all: a copy of a project beside it has the same tokens, and other accounts.
            models.UniqueConstraint(fields=["token", "annotator"], name="token_once"),
            models.CheckConstraint(
                condition=~Q(state="voted")
                | (
                    ~Q(choice="")
                    & Q(seq__isnull=False)
                    & (Q(imported=True) | Q(voted_at__isnull=False))
                ),
                name="a_vote_is_complete",
            ),
            models.CheckConstraint(
                condition=Q(imported=True)
                | (
                    ~Q(left="")
                    & ~Q(stream="")
                    & Q(strength__isnull=False)
                    & Q(propensity__isnull=False)
                    & Q(leased_at__isnull=False)
                ),
                name="only_imported_votes_know_less",
            ),
            models.CheckConstraint(
                condition=~Q(state="reserved") | Q(expires_at__isnull=False),
                name="a_lease_expires",
            ),
            models.CheckConstraint(
                condition=Q(strength__gte=0, strength__lte=MAX_STRENGTH), name="strength_0_to_3"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="reserved"), name="lease_expiry"),
            models.Index(
                fields=["annotator"], condition=Q(state="reserved"), name="leases_of_a_person"
            ),
            models.Index(fields=["annotator", "-acted_at"], name="acts_of_a_person"),
            models.Index(fields=["pair", "seq"], name="votes_in_order"),
            # Projects of people have none, so that what leaves them out need not look at all.
            models.Index(fields=["pair"], condition=Q(simulated=True), name="simulated_votes"),
            models.Index(
                fields=["imported_by"],
                condition=Q(imported_by__isnull=False),
                name="votes_of_an_import",
            ),
        ]

    def __str__(self) -> str:
        return f"assignment {self.token}"


class VoteRevision(models.Model):
    """A vote that a dataset version holds and that was later corrected or taken back.

    Dataset version N holds exactly the standing votes with frozen_from <= N and the
    revisions with frozen_from <= N <= frozen_until.
    """

    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="revisions")
    revision = models.PositiveSmallIntegerField()
    choice = models.CharField(max_length=10, choices=Choice.choices)
    strength = models.PositiveSmallIntegerField(null=True)
    reasons: models.JSONField[list[str]] = models.JSONField(default=list)
    comment = models.TextField(blank=True)
    criteria: models.JSONField[dict[str, str]] = models.JSONField(default=dict)
    criteria_asked = models.CharField(
        max_length=10, choices=CriteriaAsked.choices, blank=True, default="", db_default=""
    )
    voted_at = models.DateTimeField(null=True)
    seq = models.PositiveIntegerField()
    active_ms = models.PositiveIntegerField(null=True)
    first_key_ms = models.PositiveIntegerField(null=True)
    wall_ms = models.PositiveIntegerField(null=True)
    input = models.CharField(max_length=8, blank=True)
    guideline_version = models.PositiveIntegerField()
    surplus = models.BooleanField()
    simulated = models.BooleanField(default=False)
    imported = models.BooleanField(default=False)
    metadata: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    stream = models.CharField(max_length=10, choices=Pair.Stream.choices, blank=True)
    propensity = models.FloatField(null=True)
    acquisition = models.CharField(max_length=20, blank=True, default="", db_default="")
    leased_at = models.DateTimeField(null=True)
    frozen_from = models.PositiveIntegerField()
    frozen_until = models.PositiveIntegerField()
    replaced_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["assignment", "revision"], name="revision_once"),
        ]
