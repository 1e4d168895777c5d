"""A large export as a job: written below PAIRLOOP_HOME, watched, downloaded, and dropped later."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.db.models import Q

from annotate.exporting import export_files, format_named
from annotate.exporting.export_files import Options
from annotate.exporting.export_names import ending, file_name
from annotate.models import Export
from annotate.models.job import Job
from annotate.statements.statement_timeout import unhurried

LARGE = 50_000
"""Votes of a version beyond which a page hands an export to a worker."""
KEPT = timedelta(days=7)
"""The time that the file of an export stays to be downloaded."""
BYTES_PER_VOTE = 1500
"""A guess for the share that is done, before anything is known of the texts."""


class Beat(Protocol):
    """Says that the job is alive and how far it is; raises when it is to stop."""

    def __call__(self, done: int, share: float, /) -> None: ...


def options_as_json(options: Options) -> dict[str, Any]:
    """Options as the row of a job keeps them."""
    return {
        "include_simulated": options.include_simulated,
        "compression": options.compression,
        **options.told,
    }


def perform(export: Export, beat: Beat) -> dict[str, Any]:
    """Write the file of a job whose holder calls this; returns the columns of its row to store.

    One file, whatever the format: with side files, or of a folder, a ZIP archive. The name is
    there only once the whole file is. Raises what `beat` raises, and leaves nothing then.
    """
    folder = folder_of(export)
    partial = folder.with_name(f".{folder.name}.{export.fence}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with unhurried():
            name, parts = whole(export)
            watched = _watched(parts, beat, expected=export.version.n_votes)
            sha256 = export_files.write(partial / name, watched)
        size = (partial / name).stat().st_size
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    path = f"{EXPORTS}/{folder.name}/{name}"
    return {"path": path, "size": size, "sha256": sha256, "share": 1.0}


EXPORTS = "exports"


def folder_of(export: Export) -> Path:
    """The folder of an export's file."""
    return Path(settings.HOME) / EXPORTS / str(export.uuid)


def file_of(export: Export) -> Path | None:
    """The finished file; None when there is none, or none any more."""
    path = Path(settings.HOME) / export.path
    return path if export.path and path.is_file() else None


def drop(export: Export) -> None:
    """Remove the file, not the record."""
    shutil.rmtree(folder_of(export), ignore_errors=True)
    Export.objects.filter(pk=export.pk).update(path="")


def drop_old_files(now: datetime) -> None:
    """Remove the files of exports that ended long ago, or in vain."""
    vain = Q(state__in=(Job.State.FAILED, Job.State.CANCELLED))
    for export in Export.objects.filter(vain | Q(finished_at__lt=now - KEPT)).exclude(path=""):
        drop(export)


def whole(export: Export) -> tuple[str, Iterator[bytes]]:
    """Name and bytes of everything that an export of these options consists of."""
    chosen, options = format_named(export.format), options_of(export)
    stem = file_name(export.version, chosen.main_part, "")
    if chosen.files is not None or len(chosen.parts) == 1:
        name = file_name(export.version, chosen.main_part, ending(chosen, options.compression))
        return name, export_files.pieces(export.version, chosen, chosen.main_part, options)
    return f"{stem}zip", export_files.archive(export.version, chosen, options)


def options_of(export: Export) -> Options:
    """The options that the job was made with."""
    told = dict(export.options)
    return Options(
        include_simulated=told.pop("include_simulated", False),
        compression=told.pop("compression", "none"),
        told=told,
    )


def _watched(parts: Iterator[bytes], beat: Beat, *, expected: int) -> Iterator[bytes]:
    written = 0
    for part in parts:
        written += len(part)
        beat(written, min(0.99, written / (BYTES_PER_VOTE * max(expected, 1))))
        yield part
