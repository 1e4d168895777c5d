"""The lines of a project's file: everything in an order in which it can be read in one go.

The header names the dataset version that the file was made at. The line behind it holds every
column that any line may have, with an empty value of its type: who makes a table of the file, as
`datasets` does, takes the columns of its beginning for all of it. The last line has the number of
lines between and their SHA-256, which is the content's hash: a copy of the project has the same.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.db.models import Max, QuerySet

from annotate.exporting.project import project_tables
from annotate.exporting.project.mentioned_people import Mentioned
from annotate.exporting.project.pair_lines import pair_lines
from annotate.exporting.project.project_tables import Line, Table
from annotate.exporting.raw_rows import batches
from annotate.models import Completion, DatasetVersion, Project, Prompt, Rating
from annotate.models.project import records_wanted
from annotate.votes.export_values import line

FORMAT = "pairloop project"
FORMAT_VERSION = 2
"""1 had no line of columns."""
COLUMNS = "columns"
BATCH = 500
CUT = 500
"""People or decisions of a dataset version in one line: a reader bounds the length of lines."""


_TEXTS = (
    *("format", "project", "votes_sha256", "author", "prompt", "a", "b", "retest_of", "only_for"),
    *("annotator", "created_by"),
)
_WHOLE = ("format_version", "dataset_version", "asked", "cast", "left_balance", "lines")
_OBJECTS = (
    *("ratings", "label", "gold", "decision", "flags", "rewrite", "revisions", "people"),
    "decisions",
)


def columns_line() -> Line:
    """Every column that a line may have, with an empty value of its type.

    {} stands for a value of any kind: `datasets` reads such columns as JSON.
    """
    return {
        "type": COLUMNS,
        **project_tables.samples(project_tables.TOP_LEVEL),
        "description": "",
        "version": 0,
        **dict.fromkeys(_TEXTS, ""),
        **dict.fromkeys(_WHOLE, 0),
        **{name: {} for name in _OBJECTS},
    }


class Content:
    """The hash of a project's lines, and how many there were."""

    def __init__(self) -> None:
        self._digest, self.lines = hashlib.sha256(), 0

    def add(self, written: bytes) -> None:
        self._digest.update(written)
        self.lines += 1

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def project_lines(version: DatasetVersion) -> Iterator[bytes]:
    """The file of a project as it is now; `version` is its newest dataset version."""
    content = Content()
    yield line(
        {
            "type": "header",
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "project": version.project.slug,
            "name": version.project.name,
            "description": version.project.description,
            "dataset_version": version.number,
            "votes_sha256": version.sha256,
        }
    )
    yield line(columns_line())
    for written in content_lines(version.project, newest=version.number):
        content.add(written)
        yield written
    yield line({"type": "end", "lines": content.lines, "sha256": content.sha256})


def content_lines(project: Project, *, newest: int) -> Iterator[bytes]:
    """Everything between the columns and the last line."""
    people = Mentioned(project)
    # What is added from here on is left out, or it could be of rows that went by before it came:
    # first the end of the pairs, then that of the completions and prompts that they are of.
    completions = Completion.objects.filter(prompt__project=project)
    last_pair, last_completion = _last(project.pairs.all()), _last(completions)
    last_prompt = _last(project.prompts.all())
    for written, *_ in project_tables.SETTINGS.rows(Project.objects.filter(pk=project.pk)):
        yield line({"type": "settings", **written})
    parts = (
        _guidelines(project, people),
        _prompts(project.prompts.filter(pk__lte=last_prompt)),
        _completions(completions.filter(pk__lte=last_completion), people),
        pair_lines(project.pairs.filter(pk__lte=last_pair), people, newest=newest),
        _notes(project),
        _versions(project, people, newest),
        _records(project),
    )
    for part in parts:
        yield from map(line, part)


def _guidelines(project: Project, people: Mentioned) -> Iterator[Line]:
    history = project.guideline_history.order_by("version")
    for written, author in project_tables.GUIDELINE.rows(history, "author_id"):
        yield from people.introduce([author])
        yield {"type": "guideline", "author": people.or_none(author), **written}


def _last(rows: QuerySet[Any]) -> int:
    last: int | None = rows.aggregate(last=Max("pk"))["last"]
    return last or 0


def _prompts(prompts: QuerySet[Prompt]) -> Iterator[Line]:
    for written, *_ in _in_order(project_tables.PROMPT, prompts):
        yield {"type": "prompt", **written}


def _completions(completions: QuerySet[Completion], people: Mentioned) -> Iterator[Line]:
    rows = _in_order(project_tables.COMPLETION, completions, "prompt__sha256")
    for batch in batches(rows, BATCH):
        ratings = _ratings([number for _, number, _ in batch])
        for written, number, prompt in batch:
            yield from people.introduce(who for _, who in ratings[number])
            completion = {"type": "completion", "prompt": prompt, **written}
            if rated := ratings[number]:
                completion["ratings"] = [
                    {"annotator": people.or_none(who), **rating} for rating, who in rated
                ]
            yield completion


def _ratings(completions: list[int]) -> dict[int, list[tuple[Line, int | None]]]:
    of: dict[int, list[tuple[Line, int | None]]] = defaultdict(list)
    rows = Rating.objects.filter(completion__in=completions).order_by("pk")
    for written, completion, who in project_tables.RATING.rows(
        rows, "completion_id", "annotator_id"
    ):
        of[completion].append((written, who))
    return of


def _in_order(table: Table, query: QuerySet[Any], *more: str) -> Iterator[tuple[Any, ...]]:
    """The rows batch by batch: each with its number behind the line, then `more`."""
    after = 0
    while batch := list(table.rows(query.filter(pk__gt=after).order_by("pk")[:BATCH], "pk", *more)):
        after = batch[-1][1]
        yield from batch


def _notes(project: Project) -> Iterator[Line]:
    for written, *_ in project_tables.NOTE.rows(project.model_notes.order_by("pk")):
        yield {"type": "model_note", **written}


def _versions(project: Project, people: Mentioned, newest: int) -> Iterator[Line]:
    versions = project.dataset_versions.filter(number__lte=newest).order_by("number")
    more = ("created_by_id", "people", "decisions")
    for written, by, held, decisions in project_tables.VERSION.rows(versions, *more):
        yield from people.introduce([by])
        yield {"type": "version", "created_by": people.or_none(by), **written}
        number = {"version": written["number"]}
        # Who did nothing is not in the file, and their weight counts for nothing.
        weights = {int(user): of for user, of in project_tables.same_everywhere(held).items()}
        known: list[list[Any]] = sorted(
            [people[user], *of] for user, of in weights.items() if user in people
        )
        for some in batches(known, CUT):
            yield {"type": "version_people", **number, "people": some}
        decided = {int(pair): of for pair, of in project_tables.same_everywhere(decisions).items()}
        for pairs in batches(sorted(decided), CUT):
            keys = dict(project.pairs.filter(pk__in=pairs).values_list("pk", "key"))
            told = [[keys[pair], *decided[pair]] for pair in pairs if pair in keys]
            yield {"type": "version_decisions", **number, "decisions": told}


def _records(project: Project) -> Iterator[Line]:
    """Records that came with the project, then those of what was trained here."""
    for written, *_ in project_tables.RECORD.rows(project.training_records.order_by("pk")):
        yield {"type": "record", **written}
    answers: list[tuple[Any, Any]] = records_wanted.send(sender=Project, project=project)
    for _, records in answers:
        for kind, name, given in records:
            record = project_tables.same_everywhere(json.dumps(given))
            yield {
                "type": "record",
                "kind": kind,
                "name": name,
                "sha256": record_sha256(record),
                "record": record,
            }


def record_sha256(record: dict[str, Any]) -> str:
    """Hash of a record, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
