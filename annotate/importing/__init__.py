"""Imports: every row is checked before the first is written; valid ones go in, or all or none.

May import: models, votes, queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any

from django.db import connection, transaction
from django.utils import timezone

from annotate.importing.file_reader import json_rows
from annotate.importing.import_report import Report
from annotate.importing.problems import Problem, Refused, Unreadable
from annotate.importing.row_store import BATCH, Writer
from annotate.importing.rows import Reply, Row
from annotate.importing.shapes import SAMPLE, reading
from annotate.models import Project

TURN = 0x696D70
"""Space of advisory locks: "imp", beside the project's number."""

__all__ = ["Problem", "Refused", "Report", "Unreadable", "import_rows"]


def import_rows(
    project: Project,
    file: IO[bytes],
    *,
    dry_run: bool = False,
    strict: bool = False,
    max_bytes: int | None = None,
) -> Report:
    """Import a seekable JSONL file (plain or gzip) into the project.

    `strict` writes nothing when any row is refused; `dry_run` writes nothing at all and reports
    what would be added. `max_bytes` bounds the decompressed size. Raises Unreadable when the
    file as a whole is not JSON lines.
    """
    report = Report()
    for _ in _accepted(file, max_bytes, report):
        pass
    if not report.rows:
        raise Unreadable("The file holds no rows.")
    if report.accepted and not (strict and report.n_refused):
        _write(project, _accepted(file, max_bytes, Report()), report, dry_run=dry_run)
    return report


def _accepted(file: IO[bytes], max_bytes: int | None, report: Report) -> Iterator[_Stored]:
    """The rows that can be imported; the others go into the report."""
    lines = json_rows(file, max_bytes=max_bytes)
    sample = list(islice(lines, SAMPLE))
    read = reading(raw for _, raw in sample)
    number = 0
    for number, raw in chain(sample, lines):
        report.rows += 1
        try:
            rows = list(read.rows(_not_refused(raw)))
        except Refused as refused:
            report.refuse(number, refused.field, refused.reason)
            continue
        report.accepted += 1
        for row in rows:
            for field, reason in row.warnings:
                report.warn(number, field, reason)
            yield from _stored(row)
    for one in read.rest():
        if isinstance(one, Refused):
            report.refuse(number, one.field, one.reason)
        else:
            yield from _stored(one)


@dataclass(frozen=True)
class _Stored:
    """A row as the present storage takes it: one comparison, or completions."""

    row: Row
    completions: list[Reply]
    is_pair: bool
    votes: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def _stored(row: Row) -> Iterable[_Stored]:
    if not row.comparisons:
        return [_Stored(row, list({one.sha256: one for one in row.replies}.values()), False, {})]
    pairs = ((one, [row.replies[one.a], row.replies[one.b]]) for one in row.comparisons)
    return [
        _Stored(row, sides, True, {x.rater or "imported": x.choice for x in one.judgements})
        for one, sides in pairs
        if sides[0].sha256 != sides[1].sha256
    ]


def _not_refused(raw: dict[str, Any] | Refused) -> dict[str, Any]:
    if isinstance(raw, Refused):
        raise raw
    return raw


def _write(project: Project, rows: Iterator[_Stored], report: Report, *, dry_run: bool) -> None:
    with transaction.atomic():
        _take_turn(project)
        writer = Writer(project, now=timezone.now())
        while batch := list(islice(rows, BATCH)):
            writer.add(batch)
        transaction.set_rollback(dry_run)
    report.added = writer.added
    report.written = not dry_run


def _take_turn(project: Project) -> None:
    """One import at a time per project, or two could number the same content alike.

    Not by the project's row: elsewhere that is locked behind pairs' rows, which come later here.
    SQLite has one writer in any case.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [TURN, project.pk])
