"""The people of a project's file: accounts nobody can sign in to, known by their pseudonyms."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import models

from annotate.exporting.project.project_tables import PERSON
from annotate.importing.project.line_values import Values, moment
from annotate.importing.storage.imported_annotators import username
from annotate.models import Membership, Project
from annotate.models.membership import new_pseudonym


class Placeholders:
    """Adds people, and finds them again by their pseudonyms."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[str, tuple[int, int]] = {}

    def user(self, pseudonym: str) -> int:
        return self._known[pseudonym][0]

    def member(self, pseudonym: str) -> int:
        return self._known[pseudonym][1]

    def add(self, people: list[Values]) -> None:
        """Add accounts and memberships, in the caller's transaction."""
        accounts = {username(self._project, one["pseudonym"]): one for one in people}
        users = [
            User(username=name, first_name=one["pseudonym"], password=make_password(None))
            for name, one in accounts.items()
        ]
        User.objects.bulk_create(users, ignore_conflicts=True)
        numbers = dict(User.objects.filter(username__in=accounts).values_list("username", "pk"))
        self._make_room([one["pseudonym"] for one in people])
        # Inactive: they are not offered pairs, and the people page shows them apart.
        members = [
            Membership(project=self._project, user_id=numbers[name], active=False, **_python(one))
            for name, one in accounts.items()
        ]
        for member in Membership.objects.bulk_create(members):
            self._known[member.pseudonym] = (member.user_id, member.pk)

    def _make_room(self, pseudonyms: list[str]) -> None:
        """Rename members of the empty project, who did nothing yet under these names."""
        for member in self._project.memberships.filter(pseudonym__in=pseudonyms):
            member.pseudonym = new_pseudonym()
            member.save(update_fields=["pseudonym"])


def _python(values: Values) -> dict[str, Any]:
    return {
        name: moment(values[name]) if isinstance(field, models.DateTimeField) else values[name]
        for name, field in PERSON.fields.items()
    }
