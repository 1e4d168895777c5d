"""Annotators named in an imported table: accounts nobody can sign in to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User

from annotate.models import Membership, Project
from annotate.models.membership import new_pseudonym
from annotate.queue import Pace

AT_ONCE = 500
"""People looked for by one statement."""
FIRST, LEAST, MOST = 20, 5, 500
"""People added in one transaction, in the first one, at least and at most."""


class Annotators:
    """Finds or adds the imported annotators of one project, by the table's own names.

    With `dry_run` those who are missing get a number below zero and are only counted.
    """

    def __init__(self, project: Project, *, dry_run: bool = False) -> None:
        self.project, self.dry_run = project, dry_run
        self.added = 0
        weightless = project.memberships.filter(weight=0).values_list("user_id", flat=True)
        self.weightless: set[int] = set(weightless)
        """Accounts whose votes say nothing."""
        self._known: dict[str, int] = {}
        self._unknown: list[int] = []
        self._pace = Pace(FIRST, least=LEAST, most=MOST)

    def prepare(self, names: Iterable[str], weights: Mapping[str, float | None] = {}) -> None:
        """Find or add everybody of these names, in transactions of its own.

        Who is added has the weight that the file says, or 1.
        """
        new = sorted({name for name in names if name not in self._known})
        for start in range(0, len(new), AT_ONCE):
            self._find_or_add(new[start : start + AT_ONCE], weights)

    def __getitem__(self, name: str) -> int:
        """The account of a name that was prepared."""
        return self._known[name]

    def unknown(self, n: int) -> int:
        """The account of the n-th person, from 1, among those who voted and whom nobody knows."""
        while len(self._unknown) < n:
            name = unknown_name(len(self._unknown) + 1)
            self.prepare([name])
            self._unknown.append(self[name])
        return self._unknown[n - 1]

    def _find_or_add(self, names: list[str], weights: Mapping[str, float | None]) -> None:
        of = {username(self.project, name): name for name in names}
        accounts = self._accounts(of)
        missing = [account for account in of if account not in accounts]
        self.added += len(missing)
        if self.dry_run:
            accounts |= {account: -self.added + i for i, account in enumerate(missing)}
        elif missing:
            while some := missing[: self._pace.rows]:
                self._add({account: of[account] for account in some}, weights)
                del missing[: len(some)]
            accounts = self._accounts(of)
        self._known |= {of[account]: pk for account, pk in accounts.items()}

    def _accounts(self, accounts: Iterable[str]) -> dict[str, int]:
        users = User.objects.filter(username__in=list(accounts))
        return dict(users.values_list("username", "pk"))

    def _add(self, names: dict[str, str], weights: Mapping[str, float | None]) -> None:
        users = [
            User(username=account, first_name=name[:150], password=make_password(None))
            for account, name in names.items()
        ]
        with self._pace.write(len(users)):
            User.objects.bulk_create(users, ignore_conflicts=True)
            accounts = User.objects.filter(username__in=list(names)).values_list("username", "pk")
            ours = self.project.memberships.filter(pseudonym__in=list(names.values()))
            taken = set(ours.values_list("pseudonym", flat=True))
            # Inactive: they are not offered pairs, and the people page shows them apart.
            members = [
                Membership(
                    project=self.project,
                    user_id=pk,
                    active=False,
                    pseudonym=_pseudonym(names[account], taken),
                    weight=_weight(weights.get(names[account])),
                )
                for account, pk in accounts
            ]
            Membership.objects.bulk_create(members, ignore_conflicts=True)
        self.weightless |= {member.user_id for member in members if member.weight == 0}


def _weight(told: float | None) -> float:
    return told if told is not None and 0 <= told <= 1 else 1.0


_PSEUDONYM = re.compile(r"ann-[0-9a-f]{8}")


def _pseudonym(name: str, taken: set[str]) -> str:
    """The name itself where it is a pseudonym of ours, so that a file that we wrote can leave as
    it came; a new one of everybody else, whose name an export must not tell."""
    return name if _PSEUDONYM.fullmatch(name) and name not in taken else new_pseudonym()


_NOBODY = re.compile(r"imported( \d+)?")


def is_nobody(name: str) -> bool:
    """True of a rater whom the source does not know, also under the name that we gave them."""
    return not name or (name.startswith("imported") and _NOBODY.fullmatch(name) is not None)


def unknown_name(n: int) -> str:
    return "imported" if n == 1 else f"imported {n}"


def username(project: Project, name: str) -> str:
    """An account name of its own per project: a table's "anna" is not the Anna who signs in."""
    readable = re.sub(r"[^\w.+-]", "-", name)[:40]
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"imported/{project.slug}/{readable}-{digest}"[:150]


def prefix(project: Project) -> str:
    """The beginning of the account names of all imported annotators of the project."""
    return f"imported/{project.slug}/"
