"""Roles of people in a project, and which rights include which."""

from __future__ import annotations

from django.db import models


class Role(models.TextChoices):
    ANNOTATOR = "annotator", "Annotator"
    REVIEWER = "reviewer", "Reviewer"
    ADMIN = "admin", "Admin"

    @classmethod
    def at_least(cls, role: str) -> list[str]:
        """Roles that include `role`'s rights, lowest first."""
        return cls.values[cls.values.index(role) :]
