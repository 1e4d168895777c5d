"""Annotators named in an imported table: accounts nobody can sign in to."""

from __future__ import annotations

import hashlib
import re

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from annotate.models import Membership, Project


class Annotators:
    """Finds or adds the imported annotators of one project, by the table's own names."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.added = 0
        self._known: dict[str, int] = {}

    def user_id(self, name: str) -> int:
        if name not in self._known:
            self._known[name] = self._find_or_add(name)
        return self._known[name]

    def _find_or_add(self, name: str) -> int:
        user, created = User.objects.get_or_create(
            username=username(self.project, name),
            defaults={"first_name": name[:150], "password": make_password(None)},
        )
        # Inactive: they are not offered pairs, and the people page shows them apart.
        Membership.objects.get_or_create(
            project=self.project, user=user, defaults={"active": False}
        )
        self.added += created
        return user.pk


def username(project: Project, name: str) -> str:
    """An account name of its own per project: a table's "anna" is not the Anna who signs in."""
    readable = re.sub(r"[^\w.+-]", "-", name)[:40]
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"imported/{project.slug}/{readable}-{digest}"[:150]
