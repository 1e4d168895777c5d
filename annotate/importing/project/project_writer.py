"""The second pass over a project's file: batch by batch, and at the end the same hash or nothing.

Meanwhile the project is archived: nobody is offered a pair, no round starts, and what is reckoned
in the background rests, so that what is there at the end is what the file holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError
from django.db.models import F

from annotate.exporting import seal
from annotate.exporting.project import project_tables
from annotate.exporting.project.project_file_writer import Content, content_lines
from annotate.importing.check_result import Progress, Source
from annotate.importing.import_report import Report
from annotate.importing.problems import Unreadable
from annotate.importing.project import undo_project
from annotate.importing.project.line_kinds import understood
from annotate.importing.project.line_values import Values, stored
from annotate.importing.project.pair_writer import Group, PairWriter, columns
from annotate.importing.project.placeholder_people import Placeholders
from annotate.importing.project.project_check import obstacle
from annotate.importing.project.project_file import PART, PERSON, opened_project
from annotate.importing.storage.bulk_insert import json_text
from annotate.importing.storage.earlier_rows import FileMemory
from annotate.models import Import, Pair, Project
from annotate.queue import Pace

FIRST, LEAST, MOST = 100, 60, 4000
"""Rows of a transaction, of the first one, at least and at most. People of other projects vote
between two."""
PEOPLE = 20
"""Those of the first transaction of people, who take longer than other rows."""
OPENED = 300

_PROMPTS = columns(project_tables.PROMPT, "id", "project_id", "imported_by_id")
_COMPLETIONS = columns(project_tables.COMPLETION, "id", "prompt_id", "imported_by_id")
_RATINGS = columns(project_tables.RATING, "completion_id", "annotator_id", "imported_by_id")
_GUIDELINES = columns(project_tables.GUIDELINE, "project_id", "author_id")
_NOTES = columns(project_tables.NOTE, "project_id")
_VERSIONS = columns(project_tables.VERSION, "project_id", "created_by_id", "people", "decisions")
_RECORDS = columns(project_tables.RECORD, "project_id")


def write_project(
    project: Project, source: Source, *, by: Import, report: Report, progress: Progress
) -> Report:
    """Write the project of a file into an empty one. `progress` is called before each batch.

    Raises Unreadable, and leaves nothing, where the file is no whole project or the project is
    not empty. Done again after it was broken off, it begins anew.
    """
    if undo_project.is_begun(by):
        undo_project.remove(by)
    if problem := obstacle(project):
        raise Unreadable(problem)
    undo_project.begin(by)
    report.written = True
    try:
        _write_all(project, source, by, report, progress)
    except IntegrityError as error:
        undo_project.remove(by)
        raise Unreadable(
            "The file says what no project can hold, or somebody changed the project meanwhile. "
            "Nothing was imported."
        ) from error
    except Unreadable as error:
        undo_project.remove(by)
        raise Unreadable(f"{error} Nothing was imported.") from error
    undo_project.release(by, report)
    return report


def _write_all(
    project: Project, source: Source, by: Import, report: Report, progress: Progress
) -> None:
    writer = ProjectWriter(project, by, report.added)
    with opened_project(source.file, name=source.name, max_bytes=source.max_bytes) as file:
        share = 0.0

        def beat() -> None:
            # Reading back takes about as long as writing.
            progress(report.rows, share / 2)

        writer.before_batch = beat
        for place, kind, line in file.lines():
            report.rows = report.accepted = place
            share = file.source.progress()
            writer.add(kind, understood(kind, line))
        writer.flush()
        _compare(project, file.sha256, file.dataset_version, report, progress)
    _open(project, report, progress)


def _compare(
    project: Project, sha256: str, newest: int, report: Report, progress: Progress
) -> None:
    """Read back what was written. Raises Unreadable where it is not what the file holds."""
    content = Content()
    for written in content_lines(project, newest=newest):
        content.add(written)
        if content.lines % OPENED == 0:
            progress(report.rows, 0.5 + 0.4 * min(1.0, content.lines / max(report.rows, 1)))
    if content.sha256 != sha256:
        raise Unreadable(
            f"What was written has the hash {content.sha256[:12]}… and the file {sha256[:12]}…: "
            "somebody changed the project meanwhile, or the file was not written by an export."
        )
    version = project.dataset_versions.first()
    if version is not None and version.sha256 and seal.sha256(version) != version.sha256:
        reason = f"the votes of version {version.number} have another hash than it was sealed with"
        report.warn(report.rows, "votes_sha256", reason)


def _open(project: Project, report: Report, progress: Progress) -> None:
    """Offer the places of open pairs, which nobody could take so far."""
    votes = F("n_a") + F("n_b") + F("n_tie")
    closed = project.pairs.filter(state=Pair.State.OPEN, open_slots=0, asked__gt=votes)
    pace = Pace(OPENED, least=LEAST, most=MOST)
    while some := list(closed.order_by("pk").values_list("pk", flat=True)[: pace.rows]):
        progress(report.rows, 0.95)
        with pace.write(len(some)):
            Pair.objects.filter(pk__in=some).update(open_slots=F("asked") - votes)


class ProjectWriter:
    """Takes lines in their order, and writes those of one part together."""

    def __init__(self, project: Project, by: Import, added: Counter[str]) -> None:
        self._project, self._by, self._added = project, by, added
        self._people = Placeholders(project)
        self._numbers = FileMemory()
        self._pairs = PairWriter(project.pk, by.pk, self._people.user, self._people.member)
        self._new_people: list[Values] = []
        self._part, self._batch, self._rows = -1, list[Any](), 0
        self._pace = Pace(FIRST, least=LEAST, most=MOST)
        self._pace_of_people = Pace(PEOPLE, least=PEOPLE // 4, most=MOST)
        self.before_batch: Callable[[], None] = lambda: None

    def add(self, kind: str, one: Any) -> None:
        """Take in a line; what is full is written before."""
        if kind == PERSON:
            self._new_people.append(one.values)
            if len(self._new_people) >= self._pace_of_people.rows:
                self._add_people()
            return
        behind = kind in ("assignment", "answer", "version_people", "version_decisions")
        if PART[kind] != self._part or (self._rows >= self._pace.rows and not behind):
            self.flush()
        self._part = PART[kind]
        self._rows += 1
        match kind:
            case "pair":
                self._batch.append(Group(one))
            case "assignment":
                self._batch[-1].acts.append(one)
                self._rows += len(one.revisions)
            case "answer":
                self._batch[-1].answers.append(one)
            case "version":
                self._batch.append((one, []))
            case "version_people" | "version_decisions":
                of = {version.values["number"]: parts for version, parts in self._batch}
                of[one.version].append((kind, one.rows))
            case _:
                self._batch.append(one)

    def flush(self) -> None:
        """Write what there is, people first, whom the rows may name."""
        if self._new_people:
            self._add_people()
        if not self._batch:
            return
        self.before_batch()
        with self._pace.write(self._rows):
            numbers = self._writers[self._part](self, self._batch)
        self._numbers.put(numbers)
        self._batch, self._rows = [], 0

    def _add_people(self) -> None:
        self.before_batch()
        with self._pace_of_people.write(len(self._new_people)):
            self._people.add(self._new_people)
        self._added["annotators"] += len(self._new_people)
        self._new_people = []

    def _settings(self, batch: list[Any]) -> dict[str, int]:
        values = batch[0].values
        Project.objects.filter(pk=self._project.pk).update(**values)
        for name, value in values.items():
            setattr(self._project, name, value)
        return {}

    def _guidelines(self, batch: list[Any]) -> dict[str, int]:
        _GUIDELINES.insert(
            [
                (self._project.pk, self._user(author), *stored(project_tables.GUIDELINE, values))
                for author, values in batch
            ]
        )
        return {}

    def _user(self, pseudonym: str | None) -> int | None:
        return None if pseudonym is None else self._people.user(pseudonym)

    def _prompts(self, batch: list[Any]) -> dict[str, int]:
        ids = _PROMPTS.take_ids(len(batch))
        _PROMPTS.insert(
            [
                (number, self._project.pk, self._by.pk, *stored(project_tables.PROMPT, one.values))
                for number, one in zip(ids, batch, strict=True)
            ]
        )
        self._added["prompts"] += len(batch)
        return {f"prompt {one.values['sha256']}": n for n, one in zip(ids, batch, strict=True)}

    def _completions(self, batch: list[Any]) -> dict[str, int]:
        prompts = self._numbers.get(f"prompt {one.prompt}" for one in batch)
        numbered = list(zip(_COMPLETIONS.take_ids(len(batch)), batch, strict=True))
        _COMPLETIONS.insert(
            [
                (
                    number,
                    prompts[f"prompt {one.prompt}"],
                    self._by.pk,
                    *stored(project_tables.COMPLETION, one.values),
                )
                for number, one in numbered
            ]
        )
        ratings = [
            (number, self._user(who), self._by.pk, *stored(project_tables.RATING, values))
            for number, one in numbered
            for who, values in one.ratings
        ]
        _RATINGS.insert(ratings)
        self._added["completions"] += len(batch)
        self._added["ratings"] += len(ratings)
        return {f"completion {one.prompt} {one.values['sha256']}": n for n, one in numbered}

    def _write_pairs(self, batch: list[Group]) -> dict[str, int]:
        wanted = set()
        for pair in (group.pair for group in batch):
            wanted |= {f"prompt {pair.prompt}"}
            wanted |= {f"completion {pair.prompt} {side}" for side in (pair.a, pair.b)}
            if pair.retest_of:
                wanted.add(f"pair {pair.retest_of}")
        ids = self._pairs.write(batch, self._numbers.get(wanted))
        self._added["pairs"] += len(batch)
        self._added["votes"] += sum(
            act.values["state"] == "voted" for group in batch for act in group.acts
        )
        return {f"pair {key}": number for key, number in ids.items()}

    def _notes(self, batch: list[Any]) -> dict[str, int]:
        _NOTES.insert(
            [(self._project.pk, *stored(project_tables.NOTE, one.values)) for one in batch]
        )
        return {}

    def _versions(self, batch: list[Any]) -> dict[str, int]:
        rows = []
        for (author, values), parts in batch:
            held = (json_text(one, "{}") for one in self._held(parts))
            rows.append(
                (
                    self._project.pk,
                    self._user(author),
                    *held,
                    *stored(project_tables.VERSION, values),
                )
            )
        _VERSIONS.insert(rows)
        return {}

    def _held(self, parts: list[tuple[str, list[list[Any]]]]) -> tuple[Values, Values]:
        """The people and the decisions of a version, as its row keeps them."""
        people: Values = {}
        decisions: Values = {}
        for kind, rows in parts:
            if kind == "version_people":
                people |= {str(self._people.user(name)): known for name, *known in rows}
                continue
            pairs = self._numbers.get(f"pair {key}" for key, *_ in rows)
            decisions |= {str(pairs[f"pair {key}"]): said for key, *said in rows}
        return people, decisions

    def _records(self, batch: list[Any]) -> dict[str, int]:
        _RECORDS.insert(
            [(self._project.pk, *stored(project_tables.RECORD, one.values)) for one in batch]
        )
        return {}

    _writers = (
        *(_settings, _guidelines, _prompts, _completions, _write_pairs, _notes, _versions),
        _records,
    )
    """One for each part of the file, in the order of project_file.ORDER."""
