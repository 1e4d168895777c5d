"""Imports: every row is checked before the first is written; valid ones go in, or all or none.

They go in batch by batch, while people vote; an import that was cut short is completed by the next.

May import: models, votes, queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from django.utils import timezone

from annotate.importing.file_reader import json_rows
from annotate.importing.import_report import Report
from annotate.importing.problems import Problem, Refused, Unreadable
from annotate.importing.row_shapes import read
from annotate.importing.row_store import Writer
from annotate.importing.rows import Row
from annotate.importing.storage.import_context import Judged
from annotate.models import Project

BATCH = 1000

__all__ = ["Problem", "Refused", "Report", "Unreadable", "import_rows"]


def import_rows(
    project: Project,
    file: IO[bytes],
    *,
    dry_run: bool = False,
    strict: bool = False,
    max_bytes: int | None = None,
    judged: Judged = "labels",
) -> Report:
    """Import a seekable JSONL file (plain or gzip) into the project.

    Pairs with votes are settled by them (`judged="labels"`), or the project's people are asked for
    the rest of what it wants ("ask").
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
        _write(
            project, _accepted(file, max_bytes, Report()), report, dry_run=dry_run, judged=judged
        )
    return report


def _accepted(file: IO[bytes], max_bytes: int | None, report: Report) -> Iterator[Row]:
    """The rows that can be imported; the others go into the report."""
    for number, raw in json_rows(file, max_bytes=max_bytes):
        report.rows += 1
        try:
            row = read(_not_refused(raw)).as_row()
        except Refused as refused:
            report.refuse(number, refused.field, refused.reason)
            continue
        report.accepted += 1
        for field, reason in row.warnings:
            report.warn(number, field, reason)
        yield row


def _not_refused(raw: dict[str, Any] | Refused) -> dict[str, Any]:
    if isinstance(raw, Refused):
        raise raw
    return raw


def _write(
    project: Project, rows: Iterator[Row], report: Report, *, dry_run: bool, judged: Judged
) -> None:
    writer = Writer(project, now=timezone.now(), judged=judged, dry_run=dry_run)
    while batch := list(islice(rows, BATCH)):
        writer.add(batch)
    report.added = writer.added
    report.written = not dry_run
