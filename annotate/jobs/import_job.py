"""The steps of an import that a worker does: check the file, write its rows, take them back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from annotate.importing import Report, Unreadable, any_file
from annotate.importing.check_result import Check, Source
from annotate.importing.limits import MAX_FILE_UNPACKED
from annotate.importing.row_store import NotUndoable
from annotate.importing.storage.import_context import Judged
from annotate.jobs.datasets_by_name import Dataset, fetch
from annotate.jobs.job_states import Cancelled, Heartbeat, Lost, Stopping, close, hand_over, settle
from annotate.jobs.problem_file import problem_file
from annotate.jobs.upload_files import (
    Refusal,
    drop_sent,
    fetched_path,
    problems_path,
    source_of,
)
from annotate.models import Import, Project
from annotate.models.job import Job

FORGOTTEN_AFTER = timedelta(days=7)
FORGOTTEN = "Nobody came back to it for a week."
REMEMBERED = 200
"""Mappings kept of a project."""


def perform(import_: Import, heartbeat: Heartbeat) -> None:
    """Do the step that an import waits for. Raises Unreadable, or what the heartbeat raises."""
    STEPS[Import.Step(import_.step)](import_, heartbeat)


def _check(import_: Import, heartbeat: Heartbeat) -> None:
    if named := import_.options.get("dataset"):
        _fetch(import_, Dataset(**named), heartbeat)
    source = source_for(import_)
    key = columns_key(any_file.columns_of(source))
    chosen = import_.mapping or import_.options.get("as_found")
    remembered = {} if chosen else import_.project.import_mappings.get(key, {})
    if remembered:
        source = source._replace(mapping=remembered)
    with problem_file(problems_path(import_), holder=import_.fence) as sink:
        checked = any_file.check(
            import_.project,
            source,
            judged=judged(import_),
            report=Report(sink=sink),
            progress=heartbeat,
        )
    settle(
        import_,
        Job.State.HELD,
        step=Import.Step.WRITE,
        format=checked.format[:200],
        shape=checked.shape[:200],
        mapping=import_.mapping or remembered,
        report={"columns_key": key, "remembered": bool(remembered), "check": kept(checked)},
        done=checked.report.rows,
        share=1.0,
    )
    if import_.options.get("auto") and not obstacle(import_):
        start(import_)


def _fetch(import_: Import, dataset: Dataset, heartbeat: Heartbeat) -> None:
    """Bring the files of a dataset here. Raises Unreadable, or what the heartbeat raises."""
    try:
        # One file may take longer than a worker may be silent.
        with heartbeat.meanwhile():
            told = partial(heartbeat.beat, 0)
            fetch(dataset, fetched_path(import_), told, with_token=settings.HUB_PRIVATE)
    except Refusal as refusal:
        raise Unreadable(str(refusal)) from refusal


def _write(import_: Import, heartbeat: Heartbeat) -> None:
    if any_file.is_whole(import_):
        settle(import_, Job.State.DONE, share=1.0, path="")
        drop_sent(import_)
        return
    remember_mapping(import_)
    report = Report()
    try:
        with problem_file(problems_path(import_), holder=import_.fence) as sink:
            report.sink = sink
            any_file.write(
                import_.project,
                source_for(import_),
                by=import_,
                judged=judged(import_),
                report=report,
                # Every batch: a holder that was taken for dead writes nothing more.
                progress=heartbeat.beat,
            )
    except (Lost, Stopping, OperationalError, InterfaceError):
        raise  # somebody goes on with it
    except (Cancelled, KeyboardInterrupt):
        end = Job.State.CANCELLED
        with heartbeat.meanwhile():
            if any_file.give_up(import_):
                report = Report(rows=report.rows)
    except Exception:
        with heartbeat.meanwhile():
            any_file.give_up(import_)
        raise
    else:
        end = Job.State.DONE
    settle(
        import_,
        end,
        report=import_.report | {"written": report.as_dict()},
        done=report.rows,
        **({"share": 1.0, "path": ""} if end == Job.State.DONE else {}),
    )
    if end == Job.State.DONE:
        drop_sent(import_)


def _undo(import_: Import, heartbeat: Heartbeat) -> None:
    try:
        with heartbeat.meanwhile():
            any_file.undo(import_)
    except NotUndoable as refusal:
        settle(import_, Job.State.DONE, step=Import.Step.WRITE, error=f"Not taken back: {refusal}")
    else:
        settle(import_, Job.State.DONE, undone_at=timezone.now(), share=1.0)


STEPS = {Import.Step.CHECK: _check, Import.Step.WRITE: _write, Import.Step.UNDO: _undo}


def source_for(import_: Import) -> Source:
    """The import's file, as it is to be read."""
    most = None if import_.foreground else MAX_FILE_UNPACKED
    by = import_.options.get("pairs_by", "")
    encoding = import_.options.get("encoding", "")
    return Source(source_of(import_), import_.file_name, import_.mapping, most, by, encoding)


def judged(import_: Import) -> Judged:
    """Its choice for pairs that are judged already: labels, or ask."""
    return "ask" if import_.options.get("judged") == "ask" else "labels"


def start(import_: Import) -> bool:
    """Have a checked import's rows written; False when it is not its turn."""
    checked = Import.objects.filter(state=Job.State.HELD, step=Import.Step.WRITE)
    return hand_over(import_, checked)


def open_questions(import_: Import) -> list[dict[str, str]]:
    """Near misses of the last check. Those that are answered are in the mapping."""
    asked: list[dict[str, str]] = import_.report.get("check", {}).get("questions", [])
    return asked


def obstacle(import_: Import) -> str:
    """Why a checked import cannot start yet, in words; empty when it can."""
    if import_.report.get("check", {}).get("encoding_asked"):
        return "Say first in which encoding the text is: look at what was read of it."
    if asked := open_questions(import_):
        named = dict.fromkeys(f"“{question['column'][:40]}”" for question in asked)
        columns = ", ".join(list(named)[:5])
        return f"Say first what these columns are: {columns}."
    counted = import_.report.get("check", {}).get("report", {})
    if not counted.get("accepted"):
        return _nothing_accepted(import_.report.get("check", {}))
    if import_.options.get("strict") and counted["refused"]:
        refused = counted["refused"]
        rows = "1 row is" if refused == 1 else f"{refused:,} rows are"
        return f"{rows} refused, and nothing is to be imported then."
    return ""


def _nothing_accepted(check: Mapping[str, Any]) -> str:
    """The sentence about a file of which no row can be imported, with the first one's reason."""
    problems = check.get("report", {}).get("problems", ())
    if not problems:
        return "No row can be imported as it is read now. Choose the columns of its fields."
    first = problems[0]
    place = f"{first['unit']} {first['line']:,}"
    said = ": ".join(one for one in (first["file"], place, first["field"], first["reason"]) if one)
    if not check.get("columns"):
        return f"No row of the file can be read. The first: {said}."
    return (
        f"No row can be imported as it is read now. The first: {said}. "
        "If other columns hold its fields, choose them."
    )


def drop_old_files(now: datetime) -> None:
    """Close imports that their owners left lying, and remove what was sent for them."""
    old = Import.objects.filter(created_at__lt=now - FORGOTTEN_AFTER)
    for import_ in old.filter(state=Job.State.HELD):
        held = Import.objects.filter(pk=import_.pk, state=Job.State.HELD)
        if close(import_, held, Job.State.CANCELLED, error=FORGOTTEN, path=""):
            drop_sent(import_)
    for import_ in old.filter(state__in=Job.FINISHED).exclude(path=""):
        drop_sent(import_)
        Import.objects.filter(pk=import_.pk).update(path="")


def columns_key(columns: Iterable[str]) -> str:
    """Files with the same columns have the same key."""
    return hashlib.sha256("\n".join(sorted(columns)).encode("utf-8", "replace")).hexdigest()[:32]


def remember_mapping(import_: Import) -> None:
    """Keep the choice of columns for the project's next file with the same ones."""
    key = import_.report.get("columns_key")
    if not import_.mapping or not key:
        return
    with transaction.atomic():
        project = Project.objects.select_for_update(no_key=True).get(pk=import_.project_id)
        kept = {name: one for name, one in project.import_mappings.items() if name != key}
        kept[key] = import_.mapping
        project.import_mappings = dict(list(kept.items())[-REMEMBERED:])
        project.save(update_fields=["import_mappings"])


def kept(checked: Check) -> dict[str, Any]:
    report = checked.report
    checked.report = Report()
    return asdict(checked) | {"report": report.as_dict()}
