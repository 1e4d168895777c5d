"""The first pass over a project's file: everything is there that its lines name, and only once."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db.models import QuerySet

from annotate.importing import imported_row
from annotate.importing.check_result import Check, Progress, Source
from annotate.importing.import_report import Report
from annotate.importing.imported_row import Comparison, Row
from annotate.importing.preview import Preview
from annotate.importing.problems import Unreadable
from annotate.importing.project.line_kinds import (
    Act,
    Answer,
    Authored,
    PairLine,
    Plain,
    Reply,
    VersionPart,
    understood,
)
from annotate.importing.project.line_values import Line, Values
from annotate.importing.project.project_file import ProjectFile, opened_project
from annotate.importing.storage.earlier_rows import FileMemory
from annotate.models import Assignment, Pair, Project

SHAPE = "a whole project"
COUNTED_AS = {"person": "annotators", "settings": "settings"}
RECENT = 5000
"""Things that were told last, which lines behind them name most."""
LOOKED_AT = 200
"""Prompts and completions that are kept to show pairs."""


def obstacle(project: Project) -> str:
    """The reason why no whole project goes into this one, in a sentence; empty when one does."""
    there: dict[str, QuerySet[Any]] = {
        "prompts": project.prompts.all(),
        "dataset versions": project.dataset_versions.all(),
        "models": project.model_notes.all(),
        "records": project.training_records.all(),
    }
    held = [f"{rows.count():,} {name}" for name, rows in there.items() if rows.exists()]
    if not held:
        return ""
    return (
        f"A whole project goes into an empty one, and this one holds {' and '.join(held)}. "
        "Make a new project for it."
    )


def check(project: Project, source: Source, *, report: Report, progress: Progress) -> Check:
    """Read all of the file, and count what it would add. Raises Unreadable."""
    if problem := obstacle(project):
        raise Unreadable(problem)
    known, pairs = _Known(), _Pairs()
    with opened_project(source.file, name=source.name, max_bytes=source.max_bytes) as file:
        for place, kind, line in file.lines():
            report.rows = report.accepted = place
            progress(place, file.source.progress())
            one = understood(kind, line)
            known.add(line, kind, one)
            pairs.look_at(kind, one)
        known.end()
        report.added = known.counts
        return Check(
            format=file.source.format,
            shape=SHAPE,
            preview=pairs.preview.shown(),
            report=report,
            project=_summary(file, known),
        )


def _summary(file: ProjectFile, known: _Known) -> dict[str, Any]:
    names = ("versions", "skips", "revisions", "flags", "decisions", "guidelines", "records")
    return {
        "slug": file.slug,
        "name": file.name,
        "sha256": file.sha256,
        "dataset_version": file.dataset_version,
        "guideline_version": known.guideline_version,
        "also": [
            f"{n:,} {name if n > 1 else name.removesuffix('s')}"
            for name in names
            if (n := known.counts[name])
        ],
    }


class _Known:
    """All that the file has told of so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.guideline_version = 0
        self._memory = FileMemory()
        self._recent: dict[str, int] = {}
        self._people: set[str] = set()
        self._versions: set[int] = set()
        self._pair: tuple[Line, PairLine] | None = None
        self._voters: set[str] = set()
        self._standing = 0

    def add(self, line: Line, kind: str, one: Any) -> None:
        """Take in a line. Raises Unreadable when it does not fit those before it."""
        if kind not in ("assignment", "answer", "person"):
            self._close()
        match one:
            case Plain(values):
                self._plain(line, kind, values)
            case Reply(prompt, values, ratings):
                self._expect(line, "prompt", prompt)
                self._new(line, "completion", f"{prompt} {values['sha256']}")
                self._expect_people(line, [who for who, _ in ratings])
                self.counts["ratings"] += len(ratings)
            case PairLine():
                self._open(line, one)
            case Act():
                self._act(line, one)
            case Answer(who, _):
                self._expect_people(line, [who])
                if self._pair is None or self._pair[1].gold is None:
                    line.refuse("", "an answer stands behind its gold pair")
            case Authored(author, values):
                self._expect_people(line, [author])
                self._authored(line, kind, values)
            case VersionPart(version, rows):
                self._version_part(line, kind, version, rows)

    def end(self) -> None:
        """Close the file."""
        self._close()
        if not self.counts["settings"]:
            raise Unreadable("The project has no settings.")

    def _plain(self, line: Line, kind: str, values: Values) -> None:
        names = {"prompt": "sha256", "person": "pseudonym", "model_note": "name"}
        if kind in names:
            self._new(line, kind, values[names[kind]])
        if kind == "person":
            self._people.add(values["pseudonym"])
        if kind == "record":
            self.counts["records"] += 1
        if kind == "settings":
            self._new(line, kind, "")
            self.guideline_version = values["guideline_version"]

    def _authored(self, line: Line, kind: str, values: Values) -> None:
        if kind == "version":
            self._new(line, kind, str(values["number"]))
            self._versions.add(values["number"])
        else:
            self._new(line, kind, str(values["version"]))

    def _version_part(self, line: Line, kind: str, version: int, rows: list[list[Any]]) -> None:
        if version not in self._versions:
            line.refuse("version", "there is no such version")
        if kind == "version_people":
            self._expect_people(line, [row[0] for row in rows])
        else:
            for key, *_ in rows:
                self._expect(line, "pair", key)

    def _open(self, line: Line, pair: PairLine) -> None:
        for side in (pair.a, pair.b):
            self._expect(line, "completion", f"{pair.prompt} {side}")
        if pair.retest_of:
            self._expect(line, "pair", pair.retest_of)
        self._new(line, "pair", pair.values["key"])
        flags = [who for who, _ in pair.flags]
        decided = [pair.decision[0]] if pair.decision else []
        self._expect_people(line, [pair.only_for, *flags, *decided])
        if None in flags:
            line.refuse("flags", "whose is it?")
        if pair.a == pair.b and pair.asked is not None:
            line.refuse("state", "a pair of one text with itself is not open")
        self.counts["flags"] += len(flags)
        self.counts["decisions"] += len(decided)
        self._pair, self._voters, self._standing = (line, pair), set(), 0

    def _act(self, line: Line, act: Act) -> None:
        self._expect_people(line, [act.annotator])
        if self._pair is None or act.annotator in self._voters:
            line.refuse("annotator", "an assignment stands behind its pair, one of each person")
        self._voters.add(act.annotator)
        state = act.values["state"]
        self._standing += state == Assignment.State.VOTED and not act.values["surplus"]
        self.counts["votes"] += state == Assignment.State.VOTED
        self.counts["skips"] += state == Assignment.State.SKIPPED
        self.counts["revisions"] += len(act.revisions)

    def _close(self) -> None:
        if self._pair is None:
            return
        line, pair = self._pair
        if pair.asked is not None and pair.asked < self._standing:
            line.refuse("asked", f"there are {self._standing:,} votes on it")
        if self._standing > Pair.UNLIMITED:
            line.refuse("", "there are too many votes on it")
        self._pair = None

    def _new(self, line: Line, kind: str, name: str) -> None:
        if self._has(key := f"{kind} {name}"):
            line.refuse("", f"this {kind} is there twice")
        self._recent[key] = 1
        if len(self._recent) > RECENT:
            self._memory.put(self._recent)
            self._recent = {}
        self.counts[COUNTED_AS.get(kind, f"{kind}s")] += 1

    def _has(self, key: str) -> bool:
        return key in self._recent or bool(self._memory.get([key]))

    def _expect(self, line: Line, kind: str, name: str) -> None:
        if not self._has(f"{kind} {name}"):
            line.refuse("", f"it names a {kind} that no line before it has")

    def _expect_people(self, line: Line, people: list[str | None]) -> None:
        for name in people:
            if name is not None and name not in self._people:
                line.refuse("", f"it names a person, {name[:40]!r}, whom no line before it has")


class _Pairs:
    """The first pairs, for the preview."""

    def __init__(self) -> None:
        self.preview = Preview()
        self._prompts: dict[str, Values] = {}
        self._replies: dict[tuple[str, str], Values] = {}

    def look_at(self, kind: str, one: Any) -> None:
        if kind == "prompt" and len(self._prompts) < LOOKED_AT:
            self._prompts[one.values["sha256"]] = one.values
        elif kind == "completion" and len(self._replies) < LOOKED_AT:
            self._replies[one.prompt, one.values["sha256"]] = one.values
        elif kind == "pair" and (prompt := self._prompts.get(one.prompt)):
            sides = [self._replies.get((one.prompt, side)) for side in (one.a, one.b)]
            replies = [
                imported_row.Reply(side["text"], side["policy"], side["messages"])
                for side in sides
                if side
            ]
            if len(replies) == 2:
                self.preview.look_at([_row(prompt, replies, one)])


def _row(prompt: Values, replies: list[imported_row.Reply], pair: PairLine) -> Row:
    return Row(
        messages=prompt["messages"],
        tools=prompt["tools"],
        replies=replies,
        comparisons=[Comparison(0, 1)],
        tags=[*prompt["tags"], *pair.values["tags"]],
    )
