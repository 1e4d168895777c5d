"""Imports: every row is checked before the first is written; valid ones go in, or all or none.

They go in batch by batch, while people vote; an import that was cut short is completed by the next.

May import: models, votes, exporting, queue, importing/files.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import IO

from django.utils import timezone

from annotate.importing.check_result import Source
from annotate.importing.files.text_encodings import short_title
from annotate.importing.import_report import Report
from annotate.importing.problems import Problem, Refused, Unreadable
from annotate.importing.project.project_file import is_project
from annotate.importing.row_store import Writer
from annotate.importing.storage import planner_statistics
from annotate.importing.storage.import_context import Judged
from annotate.importing.two_passes import BATCH, opened_rows
from annotate.models import Project

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
    """Import a seekable file, or a folder, of any of the formats of FORMATS_IN at once.

    Pairs with votes are settled by them (`judged="labels"`), or the project's people are asked for
    the rest of what it wants ("ask"). `mapping` names the column of a field.
    `strict` writes nothing when any row is refused; `dry_run` writes nothing at all and reports
    what would be added. `max_bytes` bounds the decompressed size. Raises Unreadable when the
    file as a whole cannot be read.
    """
    report = Report()
    source = Source(file, str(getattr(file, "name", "") or ""), mapping or {}, max_bytes)
    if not isinstance(file, Path) and is_project(file, name=source.name, max_bytes=max_bytes):
        raise Unreadable(
            "This is a whole project. Import it as a job: on the import page, with import_data or "
            "by a POST to imports/."
        )
    with opened_rows(source) as rows:
        if rows.source.encoding_asked:
            title = short_title(rows.source.encoding)
            raise Unreadable(
                f"The text is not UTF-8, and its encoding is probably {title}, but not surely. "
                "Save it as UTF-8, or say the encoding: on the import page, with "
                "import_data --encoding or by a POST to imports/."
            )
        for _ in rows.accepted(report):
            pass
    if not report.rows:
        raise Unreadable("The file holds no rows.")
    if report.accepted and not (strict and report.n_refused):
        _write(project, source, report, dry_run=dry_run, judged=judged)
    return report


def _write(
    project: Project, source: Source, report: Report, *, dry_run: bool, judged: Judged
) -> None:
    writer = Writer(project, now=timezone.now(), judged=judged, dry_run=dry_run)
    with opened_rows(source) as rows:
        accepted = rows.accepted(Report())
        while batch := list(islice(accepted, BATCH)):
            rows.note(report, batch, writer.add([one.row for one in batch]))
    report.added = writer.added
    report.written = not dry_run
    if not dry_run:
        planner_statistics.refresh_after(writer.added)
