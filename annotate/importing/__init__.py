"""Imports: every row is checked before the first is written; valid ones go in, or all or none.

They go in batch by batch, while people vote; an import that was cut short is completed by the next.

May import: models, votes, queue, importing/files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from django.utils import timezone

from annotate.importing.files import Source, opened
from annotate.importing.import_report import Report
from annotate.importing.problems import Problem, Refused, Unreadable
from annotate.importing.row_store import Writer
from annotate.importing.rows import Row
from annotate.importing.shapes import SAMPLE, reading
from annotate.importing.storage.import_context import Judged
from annotate.models import Project

BATCH = 1000

__all__ = ["Problem", "Refused", "Report", "Unreadable", "import_rows"]


def import_rows(
    project: Project,
    file: IO[bytes] | Path,
    *,
    dry_run: bool = False,
    strict: bool = False,
    max_bytes: int | None = None,
    judged: Judged = "labels",
    mapping: Mapping[str, str] | None = None,
) -> Report:
    """Import a seekable file, or a folder, of any of the formats of FORMATS_IN into the project.

    Pairs with votes are settled by them (`judged="labels"`), or the project's people are asked for
    the rest of what it wants ("ask"). `mapping` names the column of a field.
    `strict` writes nothing when any row is refused; `dry_run` writes nothing at all and reports
    what would be added. `max_bytes` bounds the decompressed size. Raises Unreadable when the
    file as a whole cannot be read.
    """
    report = Report()
    name = str(getattr(file, "name", "") or "")
    with opened(file, name=name, max_bytes=max_bytes) as source:
        for _ in _accepted(source, report, mapping):
            pass
        if not report.rows:
            raise Unreadable("The file holds no rows.")
        if report.accepted and not (strict and report.n_refused):
            rows = _accepted(source, Report(), mapping)
            _write(project, rows, report, dry_run=dry_run, judged=judged)
    return report


def _accepted(source: Source, report: Report, mapping: Mapping[str, str] | None) -> Iterator[Row]:
    """The rows that can be imported; the others go into the report."""
    lines = source.rows()
    sample = list(islice(lines, SAMPLE))
    read = reading((raw for _, raw in sample), mapping)
    place = None
    for place, raw in chain(sample, lines):
        report.rows += 1
        try:
            rows = list(read.rows(_not_refused(raw)))
        except Refused as refused:
            report.refuse(place.line, refused.field, refused.reason, place.file, source.unit)
            continue
        report.accepted += 1
        for row in rows:
            for field, reason in row.warnings:
                report.warn(place.line, field, reason, place.file, source.unit)
            yield row
    for row in read.rest():
        if isinstance(row, Row):
            yield row
        elif place is not None:
            report.refuse(place.line, row.field, row.reason, place.file, source.unit)


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
