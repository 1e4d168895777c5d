"""The owner's side of an import: send a file, say how it is read, start, cancel, take back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from annotate.importing.any_file import in_the_way, is_begun
from annotate.importing.files.text_encodings import ENCODINGS
from annotate.jobs.datasets_by_name import Dataset
from annotate.jobs.import_job import obstacle, open_questions, start
from annotate.jobs.job_states import ask_to_cancel, hand_over
from annotate.jobs.upload_files import (
    FETCHED,
    SENT,
    Refusal,
    check_room,
    drop_sent,
    folder,
    keep,
    offset,
    on_server,
    plain_name,
)
from annotate.models import Import, Project
from annotate.models.job import SILENCE, Job

JUDGED = {"labels": "use as labels", "ask": "ask our people as well"}
PATIENCE_SECONDS = 10
"""Seconds a worker may take to come before the page says that there is none."""
MOST_UNFINISHED = 50
"""Of a project: uploads and checked files that wait for somebody."""


def announce(
    project: Project, by: User, name: str, size: int, *, options: Mapping[str, Any] | None = None
) -> Import:
    """An import whose file will be sent in pieces. Raises Refusal."""
    check_room(size)
    return _new(project, by, name, size=size, options=options)


def complete(import_: Import, options: Mapping[str, Any] | None = None) -> None:
    """Have the file checked that was sent in pieces. Raises Refusal."""
    if (here := offset(import_)) != import_.size:
        raise Refusal(f"{here:,} of {import_.size:,} bytes have arrived.")
    import_.options |= options or {}
    _to_check(import_, path=_sent(import_), options=import_.options)


def receive(
    project: Project,
    by: User,
    file: IO[bytes],
    name: str,
    *,
    options: Mapping[str, Any] | None = None,
) -> Import:
    """An import of a file that came whole; it is checked next."""
    import_ = _new(project, by, name, options=options)
    _to_check(import_, path=_sent(import_), size=keep(import_, file))
    return import_


def take_from_server(
    project: Project, by: User, given: str, *, options: Mapping[str, Any] | None = None
) -> Import:
    """An import of a file that lies on the server. Raises Refusal."""
    path = on_server(given)
    import_ = _new(project, by, path.name, options=options)
    size = path.stat().st_size if path.is_file() else 0
    _to_check(import_, path=str(path), size=size)
    return import_


def take_dataset(
    project: Project, by: User, dataset: Dataset, *, options: Mapping[str, Any] | None = None
) -> Import:
    """An import of a dataset by its name; a worker fetches it first."""
    options = {**(options or {}), "dataset": dataset.as_options()}
    import_ = _new(project, by, dataset.name, options=options)
    _to_check(import_, path=f"imports/{folder(import_).name}/{FETCHED}")
    return import_


def map_columns(
    import_: Import,
    mapping: Mapping[str, str | list[str]],
    *,
    pairs_by: str | None = None,
    encoding: str | None = None,
) -> bool:
    """Say which column each field is; `metadata` lists columns that are none. `pairs_by` is the
    rating by which replies to one prompt are compared, or "" where they are not; `encoding` that of
    a text, or "" for the one that was found out.

    Where that changes how the file is read it is checked again, and the answer is True. Raises
    Refusal.
    """
    _expect_checked(import_)
    _check_mapping(import_.report["check"], mapping)
    before = import_.options.get("pairs_by", "")
    pairs_by = before if pairs_by is None else pairs_by
    if pairs_by and pairs_by not in import_.report["check"].get("ratings", []):
        raise Refusal(f"No reply has a rating {pairs_by[:40]!r}.")
    read_in = import_.options.get("encoding", "")
    encoding = read_in if encoding is None else encoding
    if encoding not in ("", *ENCODINGS):
        raise Refusal(f"Encodings: choose one of {', '.join(ENCODINGS)}.")
    if (mapping, pairs_by, encoding) == (import_.mapping, before, read_in):
        return False
    options = import_.options | {"pairs_by": pairs_by, "encoding": encoding}
    if mapping != import_.mapping or pairs_by != before:
        options["as_found"] = not mapping
    _to_check(import_, mapping=dict(mapping), options=options)
    return True


def choose_columns(
    import_: Import,
    shown: Mapping[str, str],
    answers: Mapping[tuple[str, str], bool],
    *,
    pairs_by: str | None = None,
    encoding: str | None = None,
) -> bool:
    """Take over a form: the column of each field as it stands there, and its answers.

    An answer is about a column and a field: whether the one is the other. What somebody left as it
    was recognised stays for the file to say. As map_columns otherwise.
    """
    _expect_checked(import_)
    recognised = import_.report["check"]["mapping"]
    changed = {name: column for name, column in shown.items() if column != recognised.get(name, "")}
    mapping = with_answers(import_, import_.mapping | changed, answers)
    return map_columns(import_, mapping, pairs_by=pairs_by, encoding=encoding)


def with_answers(
    import_: Import,
    mapping: Mapping[str, str | list[str]],
    answers: Mapping[tuple[str, str], bool],
) -> dict[str, str | list[str]]:
    """The mapping with the answers to open questions in it."""
    mapping = dict(mapping)
    asked = [(one["column"], one["field"]) for one in open_questions(import_)]
    meant = [question for question in asked if answers.get(question) is True]
    for column, name in meant:
        columns = [*_listed(mapping.get(name)), column]
        mapping[name] = columns[0] if len(columns) == 1 else columns
    taken = {column for column, _ in meant}
    declined = [question[0] for question in asked if answers.get(question) is False]
    if left := [column for column in dict.fromkeys(declined) if column not in taken]:
        mapping["metadata"] = [*_listed(mapping.get("metadata")), *left]
    return mapping


def _listed(columns: str | list[str] | None) -> list[str]:
    return columns if isinstance(columns, list) else [columns] if columns else []


def choose_options(
    import_: Import, *, judged: str | None = None, strict: bool | None = None
) -> None:
    """Say what becomes of judged pairs, and of a file with refused rows. Raises Refusal."""
    _expect_checked(import_)
    if judged not in (*JUDGED, None):
        raise Refusal(f"Judged pairs: choose one of {', '.join(JUDGED)}.")
    said = {"judged": judged, "strict": strict}
    options = import_.options | {name: one for name, one in said.items() if one is not None}
    _checked().filter(pk=import_.pk).update(options=options)
    import_.options = options


def begin(import_: Import) -> None:
    """Have the rows written. Raises Refusal while something stands in the way."""
    _expect_checked(import_)
    if reason := obstacle(import_):
        raise Refusal(reason)
    if not start(import_):
        raise Refusal("It is started already.")


def cancel(import_: Import) -> None:
    """Stop an import that is not over. Raises Refusal."""
    if import_.step == Import.Step.UNDO or not ask_to_cancel(import_):
        raise Refusal("There is nothing to cancel.")
    import_.refresh_from_db()
    if import_.state == Job.State.CANCELLED:
        drop_sent(import_)


def undo_refusal(import_: Import) -> str:
    """Why an import cannot be taken back, in words; empty when it can."""
    if not import_.finished or not (import_.report.get("written") or is_begun(import_)):
        return "Nothing of it was imported."
    if import_.undone_at:
        return "It was taken back already."
    return in_the_way(import_)


def take_back(import_: Import) -> None:
    """Have what an import added removed. Raises Refusal."""
    if reason := undo_refusal(import_):
        raise Refusal(reason)
    over = Q(state__in=Job.FINISHED, undone_at=None)
    hand_over(import_, Import.objects.filter(over), step=Import.Step.UNDO)


def stage(import_: Import) -> str:
    """One word for where an import stands, of STAGES."""
    if import_.undone_at:
        return "undone"
    if import_.finished:
        return import_.state
    if import_.step == Import.Step.UPLOAD:
        return "uploading"
    if import_.state == Job.State.HELD:
        return "asking" if obstacle(import_) else "ready"
    return {"check": "checking", "write": "importing", "undo": "undoing"}[import_.step]


STAGES = (
    *("uploading", "checking", "asking", "ready", "importing", "done"),
    *("failed", "cancelled", "undoing", "undone"),
)


def standstill(import_: Import) -> str:
    """Why nothing seems to happen to an import, in words; empty while something does."""
    now = timezone.now()
    if import_.state == Job.State.RUNNING:
        silent = import_.heartbeat_at is not None and import_.heartbeat_at < now - SILENCE
        return "Its worker has fallen silent. The next one goes on with it." if silent else ""
    if import_.state != Job.State.WAITING or import_.queued_at is None:
        return ""
    alive = Import.objects.filter(state=Job.State.RUNNING, heartbeat_at__gt=now - SILENCE)
    if others := alive.count():
        return "It waits for another import." if others == 1 else "It waits for other imports."
    if (seconds := (now - import_.queued_at).seconds) < PATIENCE_SECONDS:
        return ""
    return f"No worker has taken it up for {seconds} s. Start one with: make worker"


def _new(project: Project, by: User, name: str, **fields: Any) -> Import:
    held = project.imports.filter(state=Job.State.HELD).count()
    if held >= MOST_UNFINISHED:
        raise Refusal(f"{held} imports wait to be started or cancelled. Settle some of them first.")
    fields["options"] = dict(fields.get("options") or {})
    return Import.objects.create(
        project=project,
        created_by=by,
        file_name=plain_name(name),
        state=Job.State.HELD,
        **fields,
    )


def _sent(import_: Import) -> str:
    return f"imports/{folder(import_).name}/{SENT}"


def _checked() -> Any:
    return Import.objects.filter(state=Job.State.HELD, step=Import.Step.WRITE)


def _expect_checked(import_: Import) -> None:
    if import_.state != Job.State.HELD or import_.step != Import.Step.WRITE:
        raise Refusal("Its file is not checked yet, or it was started or cancelled.")


def _to_check(import_: Import, **fields: Any) -> None:
    held = Import.objects.filter(state=Job.State.HELD)
    if not hand_over(import_, held, step=Import.Step.CHECK, **fields):
        raise Refusal("It was started or cancelled.")


def _check_mapping(checked: Mapping[str, Any], mapping: Mapping[str, str | list[str]]) -> None:
    fields = [one["name"] for one in checked["fields"]]
    columns = {one["name"].casefold() for one in checked["columns"]}
    for name, given in mapping.items():
        if name not in (*fields, "metadata"):
            raise Refusal(f"There is no field {name[:40]!r}. Fields: {', '.join(fields)}.")
        for column in _listed(given):
            # A path leads into objects: `data.prompt`.
            if not {column.casefold(), column.casefold().split(".")[0]} & columns:
                raise Refusal(f"The file has no column {column[:40]!r}.")
