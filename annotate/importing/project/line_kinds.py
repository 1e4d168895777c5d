"""The kinds of lines in a project's file, each with its columns and what it refers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from annotate.exporting.project import project_tables
from annotate.exporting.project.project_file_writer import record_sha256
from annotate.importing.project.line_values import HASH, Line, Values, fault
from annotate.models import Adjudication, Assignment, Membership, Pair
from annotate.models.content import messages_sha256, prompt_sha256, text_sha256
from annotate.votes.scales import SCALES

PLACES = 32_767
ByPerson = tuple[str | None, Values]
"""A pseudonym, or None where nobody is known; and what this person said."""


class Plain(NamedTuple):
    """A line of one table: settings, people, prompts, notes on models, records."""

    values: Values


class Authored(NamedTuple):
    """Guidelines and dataset versions."""

    author: str | None
    values: Values


class Reply(NamedTuple):
    """A completion."""

    prompt: str
    values: Values
    ratings: list[ByPerson]


class PairLine(NamedTuple):
    """A pair; `asked` is None where it is not open."""

    prompt: str
    a: str
    b: str
    retest_of: str | None
    only_for: str | None
    asked: int | None
    cast: int
    left_balance: int
    values: Values
    label: Values | None
    gold: Values | None
    decision: ByPerson | None
    flags: list[ByPerson]


class Act(NamedTuple):
    """An assignment: a vote, a skip, or a vote that was taken back and that a version holds."""

    annotator: str
    values: Values
    revisions: list[Values]
    rewrite: Values | None


class Answer(NamedTuple):
    """An answer in the qualification."""

    annotator: str
    values: Values


class VersionPart(NamedTuple):
    """Some of a version's people (name, weight, reliability, estimate) or decisions (key, choice,
    strength)."""

    version: int
    rows: list[list[Any]]


def _settings(line: Line) -> Plain:
    values = line.table(project_tables.SETTINGS)
    if values["scale"] not in SCALES:
        line.refuse("scale", f"no scale {values['scale']!r} is known here")
    return Plain(values)


def _person(line: Line) -> Plain:
    values = line.table(project_tables.PERSON)
    if not values["pseudonym"].strip() or values["weight"] < 0:
        line.refuse("pseudonym", "a person has a name and a weight that is not below 0")
    return Plain(values)


def _guideline(line: Line) -> Authored:
    return Authored(line.optional("author"), line.table(project_tables.GUIDELINE))


def _prompt(line: Line) -> Plain:
    values = line.table(project_tables.PROMPT)
    _check_chat(line, values["messages"])
    if values["sha256"] != prompt_sha256(values["messages"], values["tools"]):
        line.refuse("sha256", "it is not the hash of the prompt")
    return Plain(values)


def _completion(line: Line) -> Reply:
    prompt, values = line.text("prompt", pattern=HASH), line.table(project_tables.COMPLETION)
    turns = values["messages"]
    if turns is not None:
        _check_chat(line, turns)
    if values["sha256"] != (messages_sha256(turns) if turns else text_sha256(values["text"])):
        line.refuse("sha256", "it is not the hash of the completion")
    ratings = [_by_person(rating, project_tables.RATING) for rating in line.parts("ratings")]
    return Reply(prompt, values, ratings)


def _check_chat(line: Line, messages: list[Any]) -> None:
    for message in messages:
        if not isinstance(message, dict) or not all(
            isinstance(message.get(name), str) for name in ("role", "content")
        ):
            line.refuse("messages", "every message has a role and a content")
    if not messages:
        line.refuse("messages", "there are none")


def _by_person(line: Line, table: project_tables.Table, name: str = "annotator") -> ByPerson:
    person, values = line.optional(name), line.table(table)
    line.end()
    return person, values


def _pair(line: Line) -> PairLine:
    values = line.table(project_tables.PAIR)
    is_open = values["state"] == Pair.State.OPEN
    decision = line.part("decision")
    return PairLine(
        prompt=line.text("prompt", pattern=HASH),
        a=line.text("a", pattern=HASH),
        b=line.text("b", pattern=HASH),
        retest_of=line.optional("retest_of"),
        only_for=line.optional("only_for"),
        asked=line.whole("asked", 0, PLACES) if is_open else None,
        cast=line.whole("cast", 0, 2**31 - 1),
        left_balance=line.whole("left_balance", -PLACES, PLACES),
        values=values,
        label=_part(line, "label", project_tables.LABEL),
        gold=_part(line, "gold", project_tables.GOLD),
        decision=_by_person(decision, project_tables.DECISION, "reviewer") if decision else None,
        flags=[_by_person(flag, project_tables.FLAG) for flag in line.parts("flags")],
    )


def _part(line: Line, name: str, table: project_tables.Table) -> Values | None:
    part = line.part(name)
    if part is None:
        return None
    values = part.table(table)
    part.end()
    return values


def _assignment(line: Line) -> Act:
    values = line.table(project_tables.ASSIGNMENT)
    revisions = []
    for part in line.parts("revisions"):
        revisions.append(part.table(project_tables.REVISION))
        part.end()
    act = Act(
        line.text("annotator"), values, revisions, _part(line, "rewrite", project_tables.REWRITE)
    )
    if reason := _incomplete(act):
        line.refuse("", reason)
    return act


def _incomplete(act: Act) -> str:
    """Say what an assignment lacks, as the table's constraints have it."""
    one, state = act.values, act.values["state"]
    if state == Assignment.State.RESERVED:
        return "a lease does not stand in a project's file"
    if state == Assignment.State.RELEASED and not act.revisions:
        return "what nobody voted on does not stand in a project's file"
    told = ("left", "stream", "propensity", "leased_at", "strength")
    if not one["imported"] and any(one[name] in (None, "") for name in told):
        return "a vote that was cast here has a side, an arm, a strength and a time"
    if any((vote["strength"] or 0) > 3 for vote in (one, *act.revisions)):
        return "a strength is 0 to 3"
    if state != Assignment.State.VOTED:
        return ""
    known = one["choice"] and one["seq"] is not None and (one["imported"] or one["voted_at"])
    return "" if known else "a vote has a choice, a number and a time"


def _answer(line: Line) -> Answer:
    return Answer(line.text("annotator"), line.table(project_tables.ANSWER))


def _note(line: Line) -> Plain:
    return Plain(line.table(project_tables.NOTE))


def _version(line: Line) -> Authored:
    return Authored(line.optional("created_by"), line.table(project_tables.VERSION))


def _version_people(line: Line) -> VersionPart:
    fields = {field.name: field for field in Membership._meta.concrete_fields}
    columns = [fields[name] for name in ("pseudonym", "weight", "reliability", "estimate")]
    return _version_part(line, "people", columns)


def _version_decisions(line: Line) -> VersionPart:
    fields = {field.name: field for field in Adjudication._meta.concrete_fields}
    key = Pair._meta.get_field("key")
    return _version_part(line, "decisions", [key, fields["choice"], fields["strength"]])


def _version_part(line: Line, name: str, columns: list[Any]) -> VersionPart:
    rows = line.listed(name)
    for row in rows:
        if not isinstance(row, list) or len(row) != len(columns):
            line.refuse(name, f"each has {len(columns)} values")
        for field, value in zip(columns, row, strict=True):
            unknown = value is None and field.null
            if not unknown and (reason := fault(field.name, field, value)):
                line.refuse(f"{name}.{field.name}", reason)
    return VersionPart(line.whole("version", 1, 2**31 - 1), rows)


def _record(line: Line) -> Plain:
    values = line.table(project_tables.RECORD)
    if values["sha256"] != record_sha256(values["record"]):
        line.refuse("sha256", "it is not the hash of the record")
    return Plain(values)


KINDS: dict[str, Callable[[Line], Any]] = {
    "settings": _settings,
    "guideline": _guideline,
    "person": _person,
    "prompt": _prompt,
    "completion": _completion,
    "pair": _pair,
    "assignment": _assignment,
    "answer": _answer,
    "model_note": _note,
    "version": _version,
    "version_people": _version_people,
    "version_decisions": _version_decisions,
    "record": _record,
}


def understood(kind: str, line: Line) -> Any:
    """The line as one of the kinds above. Raises Unreadable."""
    one = KINDS[kind](line)
    line.end()
    return one
