"""The file, its rows and their storage, as the two passes of an import see them.

The one place that knows how files are opened, how rows are understood and how they are written.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from django.db import transaction
from django.utils import timezone

from annotate.importing import row_shapes, row_store
from annotate.importing.files import Place, Source, opened
from annotate.importing.problems import Refused
from annotate.importing.rows import Comparison, Judgement, Reply, Row
from annotate.models import Assignment, Import, Project

SAMPLE = 200
"""Rows that are looked at before the first is read."""


class Question(NamedTuple):
    """A column whose name nearly is that of a field: is it meant?"""

    column: str
    field: str
    why: str


class Field(NamedTuple):
    name: str
    help: str


class ColumnUse(NamedTuple):
    """A column, what it is used as, and how many rows had it so far."""

    name: str
    use: str
    rows: int


@dataclass(frozen=True)
class _Read(Row):
    """A row with the form that the present storage takes."""

    stored: row_shapes.Row


FIELDS = {
    "prompt": "What is asked: text, or a chat",
    "chosen": "The better reply",
    "rejected": "The worse reply",
    "completion_a": "One reply",
    "completion_b": "The other reply",
    "model_a": "The model that wrote completion_a",
    "model_b": "The model that wrote completion_b",
    "votes": "Who voted for which of the two: {rater: a, b or tie}",
    "completion": "A single reply",
    "completions": "A list of replies",
    "model": "The model that wrote the reply",
    "tags": "A list of tags",
    "reference": "A reference answer",
}
KNOWN = {*FIELDS, "response_a", "response_b"}


@dataclass
class Rows:
    """An open file whose rows are understood."""

    format: str
    left_out: list[str]
    """Members of an archive or folder that hold no rows."""
    unit: str
    columns: list[str]
    shape: str
    mapping: dict[str, str]
    questions: list[Question]
    fields: list[Field]
    _source: Source
    _had: Counter[str] = field(default_factory=Counter)

    def read(self) -> Iterator[tuple[Place, Row | Refused, Mapping[str, Any]]]:
        """Every row of the file: its place, the row or why it is refused, and its columns."""
        for place, raw in self._source.rows():
            if isinstance(raw, Refused):
                yield place, raw, {}
                continue
            self._had.update(raw.keys())
            try:
                yield place, _adapted(row_shapes.read(self._mapped(raw))), raw
            except Refused as refused:
                yield place, refused, raw

    def _mapped(self, raw: dict[str, Any]) -> dict[str, Any]:
        if not self.mapping:
            return raw
        named = {name: raw[column] for name, column in self.mapping.items() if column in raw}
        others = {
            column: value
            for column, value in raw.items()
            if column not in self.mapping.values() and column not in named
        }
        return others | named

    def uses(self) -> list[ColumnUse]:
        """The columns seen so far, and what each was used as."""
        used = {column: name for name, column in self.mapping.items()}
        names = list(dict.fromkeys([*self.columns, *self._had]))
        return [
            ColumnUse(name, used.get(name, name if name in KNOWN else "not read"), self._had[name])
            for name in names
        ]

    def share(self) -> float:
        """The part of the file that was read, 0 to 1."""
        return self._source.progress()


@contextmanager
def opened_rows(
    source: Path | IO[bytes],
    *,
    name: str = "",
    mapping: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
) -> Iterator[Rows]:
    """The rows of a file or a folder.

    `mapping` (field -> column) is what a person chose; without it one is found. Raises Unreadable.
    """
    with opened(source, name=name, max_bytes=max_bytes) as opened_source:
        yield _rows(opened_source, mapping or {})


def _rows(source: Source, mapping: Mapping[str, str]) -> Rows:
    sample = [raw for _, raw in islice(source.rows(), SAMPLE) if isinstance(raw, dict)]
    columns = list(dict.fromkeys([*(source.columns or []), *chain(*sample)]))
    return Rows(
        format=source.format,
        left_out=source.left_out,
        unit=source.unit,
        columns=columns,
        shape=_shape({_field_of(mapping, column): 1 for column in columns}),
        mapping=dict(mapping),
        questions=[] if mapping else _near_misses(columns),
        fields=[Field(*one) for one in FIELDS.items()],
        _source=source,
    )


def _field_of(mapping: Mapping[str, str], column: str) -> str:
    return next((name for name, one in mapping.items() if one == column), column)


def _shape(raw: dict[str, Any]) -> str:
    shapes = row_shapes.SHAPES.items()
    return next((f"{name} rows" for name, shape in shapes if shape.recognises(raw)), "")


def _near_misses(columns: list[str]) -> list[Question]:
    questions = []
    for column in columns:
        if column not in KNOWN and (
            near := difflib.get_close_matches(column.lower(), FIELDS, 1, 0.8)
        ):
            why = f"“{column}” looks like “{near[0]}”"
            questions.append(Question(column, near[0], why))
    return questions


def _adapted(row: row_shapes.Row) -> Row:
    judgements = [Judgement(choice, rater) for rater, choice in row.votes.items()]  # type: ignore[arg-type]
    return _Read(
        messages=row.messages,
        replies=[Reply(one.text, one.model) for one in row.completions],
        comparisons=[Comparison(0, 1, judgements)] if row.is_pair else [],
        reference=row.reference,
        tags=row.tags,
        warnings=row.warnings,
        stored=row,
    )


class Storage:
    """Writes batches of rows, each in the caller's transaction; or only counts them (`dry_run`)."""

    def __init__(
        self, project: Project, *, by: Import | None, judged: str, dry_run: bool = False
    ) -> None:
        self._writer = row_store.Writer(project, now=timezone.now())
        self.dry_run = dry_run

    @property
    def added(self) -> Counter[str]:
        return self._writer.added

    def add(self, rows: Iterable[Row]) -> None:
        stored = [row.stored for row in rows if isinstance(row, _Read)]
        if not self.dry_run:
            self._writer.add(stored)
            return
        with transaction.atomic():
            self._writer.add(stored)
            transaction.set_rollback(True)


class NotUndone(ValueError):
    """Why an import cannot be taken back, in words."""


def undo_refusal(import_: Import) -> str:
    """Why an import cannot be taken back; empty when it can."""
    votes = Assignment.objects.filter(pair__imported_by=import_, imported=False)
    if voted := votes.filter(state=Assignment.State.VOTED).count():
        people = "1 vote" if voted == 1 else f"{voted:,} votes"
        return f"{people} of people in this project are on its pairs."
    return ""


def undo(import_: Import) -> None:
    """Take back what an import added. Raises NotUndone."""
    if reason := undo_refusal(import_):
        raise NotUndone(reason)
    with transaction.atomic():
        import_.assignments.all().delete()
        import_.pairs.all().delete()
        import_.completions.all().delete()
        import_.prompts.filter(pairs=None, completions=None).delete()
