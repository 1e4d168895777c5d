"""Imports by a command: both passes in the process that asked, without a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from annotate.importing import Report, any_file
from annotate.importing.check_result import Check, Progress, Source
from annotate.importing.shapes.column_mapping import Chosen
from annotate.importing.storage.import_context import Judged
from annotate.jobs import import_job
from annotate.jobs.import_actions import undo_refusal
from annotate.jobs.job_runner import work
from annotate.jobs.job_states import Heartbeat, hold
from annotate.jobs.problem_file import problem_file
from annotate.jobs.upload_files import Refusal, plain_name
from annotate.models import Import, Project
from annotate.models.job import Job

OPTIONS = ("pairs_by", "encoding")
"""Of a source, which its import keeps."""

Display = Callable[[int, float], None]
"""Shown the rows worked through and the share of the file."""


class ShownHeartbeat(Heartbeat):
    """A heartbeat that somebody watches."""

    def __init__(self, job: Job, display: Display) -> None:
        super().__init__(job)
        self._display = display

    def beat(self, done: int, share: float) -> None:
        super().beat(done, share)
        self._display(done, share)


def source(
    project: Project, file: Path, mapping: Chosen, *, pairs_by: str = "", encoding: str = ""
) -> Source:
    """The file as it is to be read: as was said, or as the project's last one with its columns.

    Raises OSError and Unreadable.
    """
    plain = Source(file, file.name, mapping, pairs_by=pairs_by, encoding=encoding)
    if mapping:
        return plain
    key = import_job.columns_key(any_file.columns_of(plain))
    return plain._replace(mapping=project.import_mappings.get(key, {}))


def check(
    project: Project, source: Source, *, judged: Judged, report: Path | None, progress: Progress
) -> Check:
    """The first pass; `report` is where every problem is written down."""
    if report is None:
        return any_file.check(project, source, judged=judged, report=Report(), progress=progress)
    with problem_file(report, holder=0) as sink:
        kept = Report(sink=sink)
        return any_file.check(project, source, judged=judged, report=kept, progress=progress)


def write(
    project: Project, source: Source, checked: Check, *, judged: str, display: Display
) -> Import:
    """The second pass, with a row of its own that can be taken back. Look at its state."""
    file = Path(str(source.file)).resolve()
    import_ = Import.objects.create(
        project=project,
        state=Job.State.HELD,
        step=Import.Step.WRITE,
        file_name=plain_name(source.name),
        path=str(file),
        size=file.stat().st_size if file.is_file() else 0,
        format=checked.format[:200],
        shape=checked.shape[:200],
        mapping=dict(source.mapping),
        options={"judged": judged, **_options(source)},
        report={
            "columns_key": import_job.columns_key(any_file.columns_of(source)),
            "check": import_job.kept(checked),
        },
    )
    _work(import_, Import.Step.WRITE, display)
    return import_


def _options(source: Source) -> dict[str, str]:
    """The options of a source that were given."""
    return {name: given for name in OPTIONS if (given := getattr(source, name))}


def take_back(import_: Import, *, display: Display) -> None:
    """Remove what an import added. Raises Refusal; look at its state and error."""
    if reason := undo_refusal(import_):
        raise Refusal(reason)
    _work(import_, Import.Step.UNDO, display)


def _work(import_: Import, step: Import.Step, display: Display) -> None:
    rows = Import.objects.exclude(state__in=(Job.State.RUNNING, Job.State.WAITING))
    if not hold(import_, rows, step=step, attempts=0):
        raise Refusal("A worker is at it.")
    work(import_, import_job.perform, ShownHeartbeat(import_, display))
    import_.refresh_from_db()
