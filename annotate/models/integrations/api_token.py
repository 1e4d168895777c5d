"""API tokens: only their hash is stored, beside what a token may do, and where."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.utils import timezone

from annotate.models.project import Project, ProjectQuerySet


def digest(secret: str) -> str:
    """SHA-256 is enough, unlike for passwords: the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


class TokenScope(models.TextChoices):
    """Kinds of calls. None includes another; a token has one or more of them."""

    READ = "read", "Read"
    VOTE = "vote", "Vote"
    WRITE = "write", "Write"
    ADMIN = "admin", "Admin"


def all_scopes() -> list[str]:
    return list(TokenScope.values)


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def live(self) -> ApiTokenQuerySet:
        unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
        return self.filter(unexpired, user__is_active=True)

    def reaching(self, project: Project) -> ApiTokenQuerySet:
        """Live tokens that can be used in the project, as far as their owners' roles let them."""
        member = Q(user__memberships__project=project, user__memberships__active=True)
        here = Q(project=None) | Q(project=project)
        rows = self.live().filter(here, member | Q(user__is_superuser=True))
        return rows.exclude(ended_in=project).distinct()


class ApiToken(models.Model):
    """A key for scripts. The secret is shown once, when it is issued.

    It never allows more than its owner's role does.
    """

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
    scopes: models.JSONField[list[str]] = models.JSONField(default=all_scopes)
    project = models.ForeignKey(
        Project,
        on_delete=models.CASCADE,
        null=True,
        related_name="api_tokens",
        help_text="The only one that it reaches; null is all of its owner's.",
    )
    ended_in = models.ManyToManyField(
        Project, related_name="+", help_text="Projects whose admins ended its access."
    )

    objects = ApiTokenQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.user}"

    @classmethod
    def issue(
        cls,
        user: User,
        *,
        name: str = "",
        scopes: Iterable[str] | None = None,
        project: Project | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> tuple[ApiToken, str]:
        """Store a new token and return it with its secret, which nobody can read again.

        Without `scopes` it has all of them.
        """
        secret = secrets.token_urlsafe(32)
        token = cls.objects.create(
            user=user,
            name=name,
            prefix=secret[:8],
            sha256=digest(secret),
            expires_at=timezone.now() + lifetime,
            scopes=all_scopes() if scopes is None else list(scopes),
            project=project,
        )
        return token, secret

    def touch(self) -> None:
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > self.USE_RESOLUTION:
            ApiToken.objects.filter(pk=self.pk).update(last_used_at=now)

    @property
    def expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def limited(self) -> bool:
        """True when some of its owner's projects are out of its reach."""
        # Who read it by its secret found out, so that calls with ordinary tokens need not ask.
        return self.project_id is not None or getattr(self, "ended_somewhere", True)

    def projects(self) -> ProjectQuerySet:
        """Projects within its reach; its owner's role in them is not looked at."""
        rows = Project.objects.exclude(pk__in=self.ended_in.values("pk"))
        return rows.filter(pk=self.project_id) if self.project_id is not None else rows
