"""Imports of any file: one that holds a whole project goes its own way, others go by their rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from annotate.importing import two_passes
from annotate.importing.check_result import Check, Progress, Source
from annotate.importing.import_report import Report
from annotate.importing.project import project_check, project_writer, undo_project
from annotate.importing.project.project_file import is_project
from annotate.importing.row_store import NotUndoable
from annotate.importing.storage import planner_statistics, undo_import
from annotate.importing.storage.import_context import Judged
from annotate.models import Import, Project


def columns_of(source: Source) -> list[str]:
    """The columns of a file's first rows; a project has none to choose. Raises Unreadable."""
    return [] if _is_project(source) else two_passes.columns_of(source)


def check(
    project: Project, source: Source, *, judged: Judged, report: Report, progress: Progress
) -> Check:
    """Read all of a file, and count what an import would add. Raises Unreadable."""
    if _is_project(source):
        return project_check.check(project, source, report=report, progress=progress)
    return two_passes.check(project, source, judged=judged, report=report, progress=progress)


def write(
    project: Project,
    source: Source,
    *,
    by: Import,
    judged: Judged,
    report: Report,
    progress: Progress,
) -> None:
    """Write a file's rows, or the whole of a project. `progress` is called before each batch.

    Done twice, or gone on with after it was broken off, it adds the same rows once. Raises
    Unreadable.
    """
    if _is_project(source):
        project_writer.write_project(project, source, by=by, report=report, progress=progress)
        planner_statistics.refresh_after(report.added)
    else:
        two_passes.write(project, source, by=by, judged=judged, report=report, progress=progress)


def is_whole(import_: Import) -> bool:
    """True where a whole project was written and opened by a worker that came no further."""
    return undo_project.is_whole(import_)


def is_begun(import_: Import) -> bool:
    """True where a part of a whole project may be in the database."""
    return undo_project.is_begun(import_)


def give_up(import_: Import) -> bool:
    """Take out the part of a project that was written before somebody cancelled; False where
    the file held rows, which stay."""
    if not undo_project.is_begun(import_):
        return False
    undo_project.remove(import_)
    return True


def in_the_way(import_: Import) -> str:
    """The reason why the import cannot be taken back, in a sentence; empty when it can."""
    if undo_project.is_begun(import_) and not import_.undone_at:
        return undo_project.in_the_way(import_)
    return undo_import.in_the_way(import_)


def undo(import_: Import) -> Counter[str]:
    """Take back what an import added and changed. Raises NotUndoable."""
    if not undo_project.is_begun(import_):
        return undo_import.undo(import_)
    if problem := undo_project.in_the_way(import_):
        raise NotUndoable(problem)
    return undo_project.undo(import_)


def _is_project(source: Source) -> bool:
    if isinstance(source.file, Path) and source.file.is_dir():
        return False
    return is_project(source.file, name=source.name, max_bytes=source.max_bytes)
