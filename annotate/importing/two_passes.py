"""The two passes of an import: the first reads everything and counts, the second writes.

Between them somebody looks at what was recognised. Both read the file from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from django.utils import timezone

from annotate.importing import files
from annotate.importing.check_result import Check, Progress, Source
from annotate.importing.compared_ratings import Placed, compared
from annotate.importing.files import Place
from annotate.importing.import_report import Report, excerpt
from annotate.importing.imported_row import Row
from annotate.importing.preview import Preview
from annotate.importing.problems import Refused, Unreadable
from annotate.importing.row_store import Note, Writer
from annotate.importing.shapes import SAMPLE, Reading, reading
from annotate.importing.storage import planner_statistics
from annotate.importing.storage.import_context import Judged
from annotate.models import Import, Project

SHOWN_COLUMNS = 300
SHOWN_RATINGS = 30
TOLD = 20
"""Rows between two words on the progress of a first pass."""
BATCH = 1_000
"""Rows between two looks at whether to go on. Their transactions are shorter."""


class OpenRows:
    """The rows of an open file, understood; what cannot be imported goes into the report."""

    def __init__(
        self, source: files.Source, reading: Reading, columns: list[str], pairs_by: str
    ) -> None:
        self.source, self.reading, self.columns = source, reading, columns
        self.pairs_by = pairs_by
        self.examples: dict[str, str] = {}

    def accepted(self, report: Report, progress: Progress | None = None) -> Iterator[Placed]:
        """The rows that can be imported. `progress` is told of every TOLDth row of the file."""
        rows = self._read(report, progress)
        return compared(rows, self.pairs_by) if self.pairs_by else rows

    def _read(self, report: Report, progress: Progress | None) -> Iterator[Placed]:
        place = Place("", 0)
        for place, raw in self.source.rows():
            report.rows += 1
            if progress is not None and report.rows % TOLD == 1:
                progress(report.rows, self.source.progress())
            try:
                rows = list(self.reading.rows(self._object(raw)))
            except Refused as refused:
                self._refuse(report, place, refused, raw)
                continue
            report.accepted += 1
            yield from self._warned(report, place, rows)
        for row in self.reading.rest():
            if isinstance(row, Row):
                yield from self._warned(report, place, [row])
            else:
                # It was taken for good while it waited for others.
                report.accepted -= 1
                self._refuse(report, place, row, {})

    def _object(self, raw: dict[str, Any] | Refused) -> dict[str, Any]:
        if isinstance(raw, Refused):
            raise raw
        if len(self.examples) < SHOWN_COLUMNS:
            for name, value in raw.items():
                if name not in self.examples and value not in (None, "", [], {}):
                    self.examples[name] = excerpt(value, 120)
        return raw

    def _refuse(self, report: Report, place: Place, refused: Refused, raw: Any) -> None:
        value = raw.get(refused.field) if isinstance(raw, dict) else None
        report.refuse(
            place.line,
            refused.field,
            refused.reason,
            place.file,
            self.source.unit,
            "" if value is None else excerpt(value),
        )

    def _warned(self, report: Report, place: Place, rows: list[Row]) -> Iterator[Placed]:
        for row in rows:
            for name, reason in row.warnings:
                report.warn(place.line, name, reason, place.file, self.source.unit)
            yield Placed(place, row)

    def note(self, report: Report, batch: list[Placed], notes: list[Note]) -> None:
        """Take what storage says of the rows of a batch for warnings."""
        for note in notes:
            place = batch[note.row].place
            report.warn(place.line, note.field, note.reason, place.file, self.source.unit)

    def column_uses(self) -> list[dict[str, Any]]:
        """The columns, what each was used as so far, in how many rows, and an example."""
        uses = self.reading.columns
        names = dict.fromkeys([*self.columns, *uses])
        return [
            {
                "name": name,
                "use": uses[name].use if name in uses else "not read",
                "rows": uses[name].rows if name in uses else 0,
                "example": self.examples.get(name, ""),
            }
            for name in islice(names, SHOWN_COLUMNS)
        ]


@contextmanager
def opened_rows(source: Source) -> Iterator[OpenRows]:
    """The rows of a file or a folder. Raises Unreadable, also for a mapping that means nothing."""
    with files.opened(
        source.file, name=source.name, max_bytes=source.max_bytes, encoding=source.encoding
    ) as opened:
        sample = [raw for _, raw in islice(opened.rows(), SAMPLE) if isinstance(raw, dict)]
        columns = dict.fromkeys(chain(opened.columns or (), *sample))
        try:
            understood = reading(sample, source.mapping)
        except Refused as refused:
            raise Unreadable(f"{refused}.") from refused
        yield OpenRows(opened, understood, list(columns), source.pairs_by)


def columns_of(source: Source) -> list[str]:
    """The columns of a file's first rows. Raises Unreadable."""
    with opened_rows(source) as rows:
        return rows.columns


def check(
    project: Project, source: Source, *, judged: Judged, report: Report, progress: Progress
) -> Check:
    """Read all of a file, and count what an import would add. Raises Unreadable."""
    counting = Writer(project, now=timezone.now(), judged=judged, dry_run=True)
    preview, rated = Preview(), dict[str, None]()
    with opened_rows(source) as rows:
        accepted = rows.accepted(report, progress)
        while batch := list(islice(accepted, BATCH)):
            preview.look_at(one.row for one in batch)
            _note_ratings(batch, rated)
            rows.note(report, batch, counting.add([one.row for one in batch]))
        if not report.rows:
            raise Unreadable("The file holds no rows.")
        report.added = counting.added
        return Check(
            format=rows.source.format,
            shape=rows.reading.shape,
            left_out=rows.source.left_out[:SHOWN_COLUMNS],
            mapping=rows.reading.mapping,
            fields=[{"name": name, "help": help} for name, help in Reading.fields.items()],
            questions=[one._asdict() for one in rows.reading.questions],
            columns=rows.column_uses(),
            preview=preview.shown(),
            report=report,
            ratings=list(rated),
            encoding=rows.source.encoding,
            encoding_asked=rows.source.encoding_asked,
        )


def _note_ratings(batch: list[Placed], rated: dict[str, None]) -> None:
    """Note by which names several replies could be compared."""
    for _, row in batch:
        for reply in row.replies:
            for rating in reply.ratings:
                if len(rated) < SHOWN_RATINGS:
                    rated.setdefault(rating.name)


def write(
    project: Project,
    source: Source,
    *,
    by: Import | None,
    judged: Judged,
    report: Report,
    progress: Progress,
) -> Report:
    """Write a file's rows, batch by batch. `progress` is called before each.

    Done twice, or gone on with after it was broken off, it adds the same rows once.
    """
    writer = Writer(project, now=timezone.now(), by=by, judged=judged)
    report.added = writer.added
    with opened_rows(source) as rows:
        accepted = rows.accepted(report)
        while batch := list(islice(accepted, BATCH)):
            progress(report.rows, rows.source.progress())
            report.written = True
            rows.note(report, batch, writer.add([one.row for one in batch]))
            report.added = writer.added
    planner_statistics.refresh_after(writer.added)
    return report
