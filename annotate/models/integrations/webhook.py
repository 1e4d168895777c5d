"""Webhooks: where events of a project are sent, and the outbox of what is on its way there.

A delivery is written in the transaction that makes its event. A task only triggers the sending:
what was not delivered stays in its row until it was, or was tried often enough.
"""

from __future__ import annotations

import base64
import secrets
import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.dispatch import Signal
from django.utils import timezone

from annotate.models.project import Project

webhook_waiting = Signal()
"""Sent when a delivery waits for a worker; whoever has workers listens."""


def new_secret() -> str:
    """256 random bits, as Standard Webhooks writes secrets."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Webhook(models.Model):
    """An address that gets a project's events, and how that has been going."""

    FORMER_SECRET = timedelta(days=1)

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    events: models.JSONField[list[str]] = models.JSONField(default=list)
    active = models.BooleanField(default=True)
    # Readable, unlike those of tokens: whoever signs needs the secret itself.
    secret = models.CharField(max_length=80, default=new_secret)
    former_secret = models.CharField(max_length=80, blank=True)
    former_until = models.DateTimeField(
        null=True, help_text="Until then the former secret signs too, after a rotation."
    )
    site = models.CharField(
        max_length=300, help_text="Scheme and host of the links, as its maker's browser had them."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    failing_since = models.DateTimeField(
        null=True, help_text="First failed try after the last delivery that arrived."
    )
    quiet_until = models.DateTimeField(
        null=True, help_text="Nothing is tried before, so that a dead receiver delays no other."
    )
    disabled_because = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"webhook {self.pk} of {self.project}"

    def rotate(self) -> str:
        """Give it a new secret and return it; for a day the former one signs beside it."""
        self.former_secret, self.secret = self.secret, new_secret()
        self.former_until = timezone.now() + self.FORMER_SECRET
        self.save(update_fields=["secret", "former_secret", "former_until"])
        return self.secret

    def signing_secrets(self, now: datetime) -> list[str]:
        former = self.former_until is not None and now < self.former_until
        return [self.secret, self.former_secret] if former else [self.secret]


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def waiting(self) -> WebhookDeliveryQuerySet:
        """Deliveries that are to be tried, now or later; those of inactive hooks rest."""
        return self.filter(state=WebhookDelivery.State.WAITING, webhook__active=True)

    def due(self, now: datetime) -> WebhookDeliveryQuerySet:
        loud = Q(webhook__quiet_until=None) | Q(webhook__quiet_until__lte=now)
        return self.waiting().filter(loud, due_at__lte=now).order_by("due_at", "pk")


class WebhookDelivery(models.Model):
    """One event on its way to one address.

    waiting -> delivered or given_up; a person may send either once more, under the same id.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        GIVEN_UP = "given_up", "Given up"

    ANSWER = 200

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    event = models.CharField(max_length=40)
    body = models.TextField(help_text="JSON, the very text that is signed.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(
        null=True,
        default=timezone.now,
        help_text="Of the next try. While one is under way, when it counts as lost.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    tried_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status of the last try.")
    answer = models.CharField(max_length=ANSWER, blank=True, help_text="How its body began.")
    error = models.CharField(max_length=300, blank=True, help_text="Why there was no answer.")

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(state="waiting"), name="deliveries_that_wait"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="waiting", due_at__isnull=False)
                | (~Q(state="waiting") & Q(due_at__isnull=True)),
                name="a_waiting_delivery_has_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.message_id}"

    @property
    def message_id(self) -> str:
        """The `webhook-id` of every try: receivers drop an event that they have had by it."""
        return f"msg_{self.uuid.hex}"
