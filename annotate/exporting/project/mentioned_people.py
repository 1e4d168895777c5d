"""People in the file of a project: each has a line under a pseudonym before the first line that
names them. Who did nothing is not in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from annotate.exporting.project.project_tables import PERSON, Line
from annotate.models import Project
from annotate.models.roles import Role
from annotate.votes.export_values import pseudonyms


class Mentioned:
    """Pseudonyms by user id, and who of them the file knows already."""

    def __init__(self, project: Project) -> None:
        self._name = pseudonyms(project)
        self._members: dict[int, Line] = {
            user: line for line, user in PERSON.rows(project.memberships.all(), "user_id")
        }
        self._told: set[int] = set()

    def __contains__(self, user: int) -> bool:
        return user in self._told

    def __getitem__(self, user: int) -> str:
        return self._name(user)

    def or_none(self, user: int | None) -> str | None:
        return None if user is None else self._name(user)

    def introduce(self, users: Iterable[int | None]) -> Iterator[Line]:
        """The lines of those among them whom the file does not know yet."""
        for user in users:
            if user is not None and user not in self._told:
                self._told.add(user)
                yield {"type": "person", **self._members.get(user, self._stranger(user))}

    def _stranger(self, user: int) -> Line:
        """Somebody who is no member: a superuser may vote without being one."""
        return {
            "pseudonym": self._name(user),
            "role": Role.ANNOTATOR.value,
            "weight": 1.0,
            "qualification_attempt": 1,
        }
