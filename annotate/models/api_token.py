"""API tokens: only their hash is stored."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.utils import timezone


def digest(secret: str) -> str:
    """SHA-256 is enough, unlike for passwords: the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def live(self) -> ApiTokenQuerySet:
        unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, user__is_active=True)

    def for_secret(self, secret: str) -> ApiTokenQuerySet:
        return self.live().filter(sha256=digest(secret))


class ApiToken(models.Model):
    """A key for scripts. The secret is shown once, when it is issued."""

    LIFETIME = timedelta(days=365)
    # Writing on every request would cost a commit per vote.
    USE_RESOLUTION = timedelta(minutes=5)

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=80, blank=True)
    prefix = models.CharField(max_length=8, help_text="Start of the secret, to tell keys apart.")
    sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    objects = ApiTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.user}"

    @classmethod
    def issue(cls, user: User, *, name: str = "") -> tuple[ApiToken, str]:
        """Store a new token and return it with its secret, which nobody can read again."""
        secret = secrets.token_urlsafe(32)
        token = cls.objects.create(
            user=user,
            name=name,
            prefix=secret[:8],
            sha256=digest(secret),
            expires_at=timezone.now() + cls.LIFETIME,
        )
        return token, secret

    def touch(self) -> None:
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > self.USE_RESOLUTION:
            ApiToken.objects.filter(pk=self.pk).update(last_used_at=now)
