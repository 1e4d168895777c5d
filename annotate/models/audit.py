"""The audit log: who did what, each entry chained to the one before by its hash."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from annotate.models.project import Project


class PersonKey(models.Model):
    """A random key that the audit log names a person by.

    Erasing a person deletes this row: the entries stay as they are, and name nobody any more.
    """

    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="person_key"
    )

    def __str__(self) -> str:
        return f"{self.user}: {self.key}"


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def of(self, project: Project) -> AuditEntryQuerySet:
        """Entries about one project, newest first."""
        return self.filter(project_slug=project.slug).order_by("-pk")

    def by(self, key: uuid.UUID) -> AuditEntryQuerySet:
        return self.filter(person=key)


class AuditEntry(models.Model):
    """One act. All but `address` goes into `sha256`, together with that of the entry before."""

    at = models.DateTimeField()
    person = models.UUIDField(null=True, help_text="Key of who did it; null: the operator.")
    action = models.CharField(max_length=60, help_text="Name of the address or command.")
    project_slug = models.CharField(max_length=50, blank=True)
    details: models.JSONField[dict[str, Any]] = models.JSONField(default=dict)
    address = models.GenericIPAddressField(
        null=True, help_text="Where it came from; dropped after PAIRLOOP_ADDRESS_DAYS."
    )
    previous = models.CharField(
        max_length=64, unique=True, help_text="SHA-256 of the entry before; unique: no fork."
    )
    sha256 = models.CharField(max_length=64, unique=True)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["project_slug", "-id"], name="audit_of_project"),
            models.Index(
                fields=["at"], condition=models.Q(address__isnull=False), name="audit_addresses"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at}: {self.action}"
