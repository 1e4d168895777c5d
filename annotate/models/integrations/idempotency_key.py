"""Answers to requests that clients may send again, by the key that they sent with them."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class IdempotencyKeyQuerySet(models.QuerySet["IdempotencyKey"]):
    def expired(self) -> IdempotencyKeyQuerySet:
        return self.filter(expires_at__lt=timezone.now())


class IdempotencyKey(models.Model):
    """One key of one person: in flight while there is no status, answered once there is."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    holder = models.UUIDField(default=uuid.uuid4, help_text="Of the request that is in flight.")
    fingerprint = models.CharField(
        max_length=64, blank=True, help_text="Of address, token and body."
    )
    status = models.PositiveSmallIntegerField(null=True)
    location = models.CharField(max_length=500, blank=True, help_text="Header of the answer.")
    body = models.TextField(blank=True)
    started_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    objects = IdempotencyKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once"),
        ]
