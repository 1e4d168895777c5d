"""Exports as jobs: ask for one, do it, cancel it."""

from __future__ import annotations

from django.contrib.auth.models import User

from annotate.exporting import export_job, format_named
from annotate.exporting.export_files import Options
from annotate.jobs.job_states import Heartbeat, ask_to_cancel, hand_over, settle
from annotate.jobs.upload_files import Refusal
from annotate.models import DatasetVersion, Export
from annotate.models.job import Job

MOST_UNFINISHED = 20
"""Of a project: each waits for the one before it."""


def begin(version: DatasetVersion, by: User | None, format: str, options: Options) -> Export:
    """An export that a worker writes next. Raises UnknownFormat, Refusal."""
    if refusal := format_named(format).refusal(version):
        raise Refusal(refusal)
    unfinished = Export.objects.filter(project=version.project).unfinished().count()
    if unfinished >= MOST_UNFINISHED:
        raise Refusal(f"{unfinished} exports are waiting. Wait for some of them, or cancel some.")
    export = Export.objects.create(
        project=version.project,
        version=version,
        created_by=by,
        state=Job.State.HELD,
        format=format,
        options=export_job.options_as_json(options),
    )
    hand_over(export, Export.objects.filter(state=Job.State.HELD))
    return export


def perform(export: Export, heartbeat: Heartbeat) -> None:
    """Write the file of an export that is held. Raises what the heartbeat raises."""
    settle(export, Job.State.DONE, **export_job.perform(export, heartbeat))


def cancel(export: Export) -> None:
    """Stop an export that is not over. Raises Refusal."""
    if not ask_to_cancel(export):
        raise Refusal("There is nothing to cancel.")
    export.refresh_from_db()
