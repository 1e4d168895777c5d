"""Memberships: who may do what in which project, on which pairs, and how people get in."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.models.project import Project
from annotate.models.roles import Role


def new_pseudonym() -> str:
    return "ann-" + secrets.token_hex(4)


class Membership(models.Model):
    """One person's role and standing in one project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.ANNOTATOR)
    pseudonym = models.CharField(max_length=80, default=new_pseudonym)
    active = models.BooleanField(default=True)
    weight = models.FloatField(
        default=1.0,
        help_text="Of this person's votes in training; 0 leaves them out of labels and exports.",
    )
    reliability = models.FloatField(
        null=True, help_text="Probability of the right answer, estimated from agreement; 0 to 1."
    )
    estimate: models.JSONField[dict[str, Any] | None] = models.JSONField(
        null=True,
        help_text="What the reliability comes from: prior of A, tie, B, and confusion by side.",
    )
    reliability_at = models.DateTimeField(null=True)
    head_doubt = models.FloatField(
        null=True,
        help_text="Chance that an honest person's votes follow so little what the others' votes "
        "teach about replies; null while too few votes say.",
    )
    pace_ms = models.PositiveIntegerField(
        null=True, help_text="Running median of the active time per vote."
    )
    daily_goal = models.PositiveIntegerField(
        null=True, blank=True, help_text="Votes a day; empty: the project's."
    )
    batches_only = models.BooleanField(
        default=False, help_text="Offered no pairs but those of their batches."
    )
    guidelines_read = models.PositiveIntegerField(
        default=0, help_text="Newest version of the guidelines this person confirmed."
    )
    qualified_at = models.DateTimeField(null=True)
    qualification_attempt = models.PositiveSmallIntegerField(
        default=1, help_text="The attempt that is open; an admin may allow another one."
    )
    warned_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True, help_text="Paused people are offered no pairs.")
    paused_because = models.CharField(max_length=200, blank=True)
    resumed_at = models.DateTimeField(
        null=True, help_text="When a pause was last lifted; gold pairs before that are settled."
    )
    simulated = models.BooleanField(default=False)
    left_balance = models.IntegerField(
        default=0, help_text="Times A was left minus times B was left, to balance the sides."
    )
    evaluates = models.BooleanField(
        default=False,
        help_text="Compares policies, because none of their votes taught a reward model.",
    )
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="member_once"),
            models.UniqueConstraint(fields=["project", "pseudonym"], name="pseudonym_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project} ({self.role})"


class BatchQuerySet(models.QuerySet["Batch"]):
    def with_progress(self) -> QuerySet[Batch]:
        """Batches with `n_pairs`, of which `n_open` still want votes and `n_done` have them. Pairs
        that left the project are in none of the three."""
        pairs = apps.get_model("annotate", "Pair").objects.filter(batch=OuterRef("pk"))
        inside = pairs.exclude(state="retired")
        return self.annotate(
            n_pairs=_number(inside),
            n_open=_number(inside.filter(state="open")),
            n_done=_number(inside.exclude(state="open")),
        )


class Batch(models.Model):
    """Some pairs of a project, and the people who are offered them before all others.

    A pair is in one batch at most (`Pair.batch`). Others may be offered the pairs, too, as their
    votes are wanted; a member whose `batches_only` is set is offered nothing but their batches.
    """

    LARGEST = 10_000
    """Pairs of a batch: pages and the queue look at all of them."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches")
    name = models.CharField(max_length=80)
    people = models.ManyToManyField(Membership, related_name="batches")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="batch_name_once"),
            models.CheckConstraint(condition=~models.Q(name=""), name="a_batch_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


def _number(rows: QuerySet[models.Model]) -> Coalesce:
    counted = rows.order_by().values("batch").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def open(self) -> InvitationQuerySet:
        return self.filter(accepted_at=None, expires_at__gt=timezone.now())

    def for_token(self, token: str) -> InvitationQuerySet:
        """Open invitations matching a link's token (only its hash is stored).

        A link ends with its maker's rights: else an admin who was put out could come back by it.
        """
        admin = Q(
            created_by__memberships__project=F("project"),
            created_by__memberships__active=True,
            created_by__memberships__role=Role.ADMIN,
        )
        return self.open().filter(
            admin | Q(created_by__is_superuser=True),
            created_by__is_active=True,
            token_hash=hashlib.sha256(token.encode()).hexdigest(),
        )


class Invitation(models.Model):
    """A link that lets people in, each of them once, until its places are taken or it expires."""

    LIFETIME = timedelta(days=7)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.ANNOTATOR)
    note = models.CharField(max_length=120, blank=True)
    places = models.PositiveIntegerField(default=1, help_text="People that the link lets in.")
    joined = models.PositiveIntegerField(default=0, help_text="People that it has let in.")
    domain = models.CharField(
        max_length=253,
        blank=True,
        help_text="Who joins must receive mail there; empty: whoever has the link.",
    )
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        help_text="Who took the last place so far.",
    )
    accepted_at = models.DateTimeField(null=True, help_text="When all places were taken.")

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(joined__lte=F("places")), name="invitation_has_places"
            ),
        ]


class ConfirmedAddress(models.Model):
    """A mail address that let somebody in by an invitation for its domain: once, and no more."""

    invitation = models.ForeignKey(
        Invitation, on_delete=models.CASCADE, related_name="confirmed_addresses"
    )
    address = models.CharField(max_length=254)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["invitation", "address"], name="address_lets_in_once"),
        ]

    def __str__(self) -> str:
        return self.address


class Installation(models.Model):
    """One row: names this installation, so that several can share a home and a queue server."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    uuid = models.UUIDField(default=uuid.uuid4)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_installation"),
        ]

    @classmethod
    def current(cls) -> Installation:
        return cls.objects.get_or_create(id=1)[0]
