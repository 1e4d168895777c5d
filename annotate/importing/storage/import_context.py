"""The import that rows belong to, and what its parts share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from annotate.importing.imported_row import Comparison, Row
from annotate.importing.storage.bulk_insert import Columns, json_text
from annotate.importing.storage.earlier_rows import FileMemory
from annotate.importing.storage.imported_annotators import Annotators
from annotate.models import Import, ImportChange, Project

Judged = Literal["labels", "ask"]
SOURCE = "import"
_CHANGES = Columns(ImportChange, ("imported_by_id", "table", "row", "before"))


@dataclass(frozen=True)
class ImportContext:
    """One pass over a file."""

    project: Project
    now: datetime
    by: Import | None
    judged: Judged
    dry_run: bool
    annotators: Annotators
    memory: FileMemory
    at: Any
    """The time of the import as the database stores it."""
    project_id: int
    by_id: int | None
    has_earlier_pairs: bool
    """Pairs of the first imports are there, which have other keys."""


class Item(NamedTuple):
    """A row with its hashes; those of its comparisons that are pairs."""

    place: int
    """Among the rows that were handed over together, from 0."""
    row: Row
    prompt: str
    replies: list[str]
    comparisons: list[Comparison]


class Note(NamedTuple):
    """A remark on a row that was stored; `row` counts from 0 among those added together."""

    row: int
    field: str
    reason: str


@dataclass
class Outcome:
    """Results of a batch: counts, remarks, and earlier states of rows that it changed."""

    by: int | None
    """Number of the import; what it added itself needs no earlier state."""
    added: Counter[str] = field(default_factory=Counter)
    notes: list[Note] = field(default_factory=list)
    before: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    def note(self, item: Item, field: str, reason: str) -> None:
        self.notes.append(Note(item.place, field, reason))

    def changes(self, table: str, row: int | None, *, of: int | None, **before: Any) -> None:
        """Keep what stands in a row before its first change; `of` is the import that added it."""
        if row is None or row < 0:
            return
        kept = self.before.setdefault((table, row), {})
        if of is None or of != self.by:
            for name, value in before.items():
                kept.setdefault(name, value)

    def journal(self) -> None:
        """Store the earlier states, so that the import can be taken back."""
        if self.by:
            rows = [
                (self.by, table, row, json_text(before))
                for (table, row), before in self.before.items()
                if before
            ]
            _CHANGES.insert(rows)


def fill(there: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Add what is missing; return what is there already with another value, and stays so."""
    if not new:
        return {}
    other = {}
    for name, value in new.items():
        if name not in there:
            there[name] = value
        elif there[name] != value:
            other[name] = value
    return other


def add_tags(there: list[str], new: Sequence[str]) -> None:
    there += [tag for tag in new if tag not in there]


def digest(*parts: str) -> str:
    """Hash of texts that hold no NUL, in this order."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
