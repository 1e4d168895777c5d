"""The chain of the audit log: entries are appended to its end, and checked from its beginning.

Each entry's SHA-256 covers the one before it, so that no entry can be changed, left out or put in
afterwards without all later ones being made anew. Who notes the last hash elsewhere notices that,
too (Haber and Stornetta, 1991, How to Time-Stamp a Digital Document).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from annotate.models import AuditEntry, PersonKey

FIRST = "0" * 64
"""The hash before the first entry."""
LOCK = 7_205_759_403_792
"""Of PostgreSQL, held while an entry is appended: the end of the chain is one for all."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The state of the log: how many entries are whole, and the first that is not (0: none)."""

    entries: int
    head: str
    broken_at: int = 0


def append(
    action: str,
    *,
    user: User | None = None,
    project_slug: str = "",
    details: dict[str, Any] | None = None,
    address: str | None = None,
) -> AuditEntry:
    """Add an entry to the end. Without a user the operator did it, by a command."""
    with transaction.atomic():
        # SQLite's transactions begin IMMEDIATE, so there one writes at a time already.
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        last = AuditEntry.objects.order_by("-pk").first()
        entry = AuditEntry(
            at=timezone.now(),
            person=key_of(user) if user is not None else None,
            action=action,
            project_slug=project_slug,
            details=details or {},
            address=address,
            previous=last.sha256 if last else FIRST,
        )
        entry.sha256 = sha256_of(entry)
        entry.save(force_insert=True)
    return entry


def key_of(user: User) -> UUID:
    """The key that the log names this person by."""
    return PersonKey.objects.get_or_create(user=user)[0].key


def sha256_of(entry: AuditEntry) -> str:
    """The hash of an entry: of the JSON array of its fields, and of the hash before it."""
    fields = (
        entry.previous,
        _instant(entry.at),
        str(entry.person or ""),
        entry.action,
        entry.project_slug,
        entry.details,
    )
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def verify() -> Chain:
    """Compute every hash again, from the first entry on."""
    head, whole = FIRST, 0
    for entry in AuditEntry.objects.order_by("pk").iterator(chunk_size=2000):
        if entry.previous != head or entry.sha256 != sha256_of(entry):
            return Chain(entries=whole, head=head, broken_at=entry.pk)
        head, whole = entry.sha256, whole + 1
    return Chain(entries=whole, head=head)


def lines(entries: QuerySet[AuditEntry]) -> Iterator[str]:
    """Entries as lines of JSON, with what each hash was made of, so that anybody can check them."""
    names = dict(PersonKey.objects.values_list("key", "user__username"))
    for entry in entries.order_by("pk").iterator(chunk_size=2000):
        row = {
            "number": entry.pk,
            "at": _instant(entry.at),
            "person": str(entry.person or ""),
            "name": names.get(entry.person, "") if entry.person else "",
            "action": entry.action,
            "project": entry.project_slug,
            "details": entry.details,
            "address": entry.address or "",
            "previous": entry.previous,
            "sha256": entry.sha256,
        }
        yield json.dumps(row, ensure_ascii=False) + "\n"
