"""The two passes of an import: the first reads everything and counts, the second writes.

Between them somebody looks at what was recognised. Both read the file from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import IO, Any, NamedTuple

from django.db import connection, transaction

from annotate.importing.import_report import Report, excerpt
from annotate.importing.import_steps import Rows, Storage, opened_rows
from annotate.importing.problems import Refused, Unreadable
from annotate.importing.rows import Row
from annotate.models import Import, Project
from annotate.models.content import Messages

TURN = 0x696D70
"""Space of advisory locks: "imp", beside the project's number."""
SHOWN = 5
"""Rows of the preview."""
SHOWN_TEXT = 20_000
"""Characters of a text in the preview."""
SHOWN_COLUMNS = 300
COUNTED_AT_ONCE = 500
SMALLEST_BATCH, FIRST_BATCH, LARGEST_BATCH = 100, 200, 2_000
BATCH_SECONDS = 0.15
"""What a batch shall take, because nobody can vote meanwhile where the database has one writer."""

Progress = Callable[[int, float], None]
"""Told the rows worked through and the share of the file; raises to stop."""


class Source(NamedTuple):
    """A file or a folder, and how it is read."""

    file: Path | IO[bytes]
    name: str
    mapping: Mapping[str, str]
    max_bytes: int | None = None


@dataclass
class Check:
    """Everything that the first pass learnt."""

    format: str = ""
    shape: str = ""
    left_out: list[str] = field(default_factory=list)
    """Members of an archive or folder that hold no rows."""
    mapping: dict[str, str] = field(default_factory=dict)
    fields: list[dict[str, str]] = field(default_factory=list)
    questions: list[dict[str, str]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    """Name, use, rows that have it, and an example of its values."""
    preview: list[dict[str, Any]] = field(default_factory=list)
    report: Report = field(default_factory=Report)


def columns_of(source: Source) -> list[str]:
    """The columns of a file's first rows. Raises Unreadable."""
    with _opened(source) as rows:
        return list(rows.columns)


def check(
    project: Project, source: Source, *, judged: str, report: Report, progress: Progress
) -> Check:
    """Read all of a file, and count what an import would add. Raises Unreadable."""
    counting = Storage(project, by=None, judged=judged, dry_run=True)
    examples: dict[str, str] = {}
    preview = Preview()
    with _opened(source) as rows:
        accepted = _accepted(rows, source.mapping, report, progress, examples)
        while batch := list(islice(accepted, COUNTED_AT_ONCE)):
            preview.look_at(batch)
            counting.add(batch)
        uses = rows.uses()
        if not report.rows:
            raise Unreadable("The file holds no rows.")
        report.added = counting.added
        return Check(
            format=rows.format,
            shape=rows.shape,
            left_out=rows.left_out[:SHOWN_COLUMNS],
            mapping=dict(rows.mapping),
            fields=[one._asdict() for one in rows.fields],
            questions=[one._asdict() for one in rows.questions],
            columns=[
                one._asdict() | {"example": examples.get(one.name, "")}
                for one in uses[:SHOWN_COLUMNS]
            ],
            preview=preview.shown(),
            report=report,
        )


def write(
    project: Project,
    source: Source,
    *,
    by: Import | None,
    judged: str,
    report: Report,
    progress: Progress,
) -> Report:
    """Write a file's rows, batch by batch. `progress` is called inside each batch's transaction.

    Done twice, or gone on with after it was broken off, it adds the same rows once.
    """
    storage = Storage(project, by=by, judged=judged)
    size = FIRST_BATCH
    with _opened(source) as rows:
        accepted = _accepted(rows, source.mapping, report, None, {})
        while batch := list(islice(accepted, size)):
            started = monotonic()
            with transaction.atomic():
                progress(report.rows, rows.share())
                take_turn(project)
                storage.add(batch)
            taken = monotonic() - started
            size = int(min(LARGEST_BATCH, 2 * size, max(SMALLEST_BATCH, size * BATCH_SECONDS / taken)))
            report.added, report.written = storage.added, True
    return report


def take_turn(project: Project) -> None:
    """One import at a time per project, or two could number the same content alike.

    Not by the project's row: elsewhere that is locked behind pairs' rows, which come later here.
    SQLite has one writer in any case.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [TURN, project.pk])


def _opened(source: Source) -> Any:
    return opened_rows(
        source.file, name=source.name, mapping=source.mapping, max_bytes=source.max_bytes
    )


def _accepted(
    rows: Rows,
    mapping: Mapping[str, str],
    report: Report,
    progress: Progress | None,
    examples: dict[str, str],
) -> Iterator[Row]:
    """The rows that can be imported; the others go into the report."""
    for place, row, raw in rows.read():
        report.rows += 1
        if progress is not None:
            progress(report.rows, rows.share())
        if len(examples) < SHOWN_COLUMNS:
            _add_examples(raw, examples)
        if isinstance(row, Refused):
            value = raw.get(mapping.get(row.field, row.field))
            report.refuse(
                place.line,
                row.field,
                row.reason,
                place.file,
                rows.unit,
                "" if value is None else excerpt(value),
            )
            continue
        report.accepted += 1
        for name, reason in row.warnings:
            report.warn(place.line, name, reason, place.file, rows.unit)
        yield row


def _add_examples(raw: Mapping[str, Any], examples: dict[str, str]) -> None:
    for name, value in raw.items():
        if name not in examples and value not in (None, "", [], {}):
            examples[name] = excerpt(value, 120)


class Preview:
    """The first rows as annotators will see them: pairs, if there are any."""

    def __init__(self) -> None:
        self._pairs: list[dict[str, Any]] = []
        self._others: list[dict[str, Any]] = []

    def look_at(self, rows: list[Row]) -> None:
        if len(self._pairs) == SHOWN:
            return
        for row in rows:
            kept = self._pairs if row.comparisons else self._others
            if len(kept) < SHOWN:
                kept.append(_shown(row))

    def shown(self) -> list[dict[str, Any]]:
        return self._pairs or self._others


def _shown(row: Row) -> dict[str, Any]:
    places = [row.comparisons[0].a, row.comparisons[0].b] if row.comparisons else range(2)
    replies = [row.replies[place] for place in places if place < len(row.replies)]
    judgements = row.comparisons[0].judgements if row.comparisons else ()
    return {
        "messages": _cut(row.messages),
        "replies": [
            {
                "text": one.text[:SHOWN_TEXT],
                "model": one.model,
                "messages": one.messages and _cut(one.messages),
            }
            for one in replies
        ],
        "votes": [{"rater": one.rater[:80], "choice": one.choice} for one in judgements[:20]],
        "tags": list(row.tags),
        "comparisons": len(row.comparisons),
    }


def _cut(messages: Messages) -> Messages:
    return [message | {"content": message["content"][:SHOWN_TEXT]} for message in messages[-20:]]
