"""Pairs in the file of a project, each followed by what people did on it.

Leases are not in it: an open pair has the places that it would have without them. Votes that a
dataset version holds stay in the file after they were taken back, as their authors' assignments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet

from annotate.exporting.project import project_tables
from annotate.exporting.project.mentioned_people import Mentioned
from annotate.exporting.project.project_tables import Line, Table
from annotate.models import (
    Adjudication,
    Assignment,
    Flag,
    Gold,
    Label,
    Pair,
    QualificationAnswer,
    Rewrite,
    VoteRevision,
)

BATCH = 300
ATTEMPTS = 5
DONE = (Assignment.State.VOTED, Assignment.State.SKIPPED)
_BESIDE = (
    *("id", "prompt__sha256", "completion_a__sha256", "completion_b__sha256", "retest_of__key"),
    *("only_for_id", "asked", "left_balance", "cast", "n_a", "n_b", "n_tie"),
)
Rows = dict[int, list[tuple[Any, ...]]]


class Held(NamedTuple):
    """Everything of some pairs, by the number of the pair or of the assignment."""

    pairs: list[tuple[Any, ...]]
    assignments: Rows
    revisions: Rows
    rewrites: Rows
    labels: Rows
    gold: Rows
    answers: Rows
    decisions: Rows
    flags: Rows


def pair_lines(pairs: QuerySet[Pair], people: Mentioned, *, newest: int) -> Iterator[Line]:
    """Pairs as they are now; of the dataset versions those up to `newest` hold their votes."""
    after = 0
    numbers = pairs.order_by("pk").values_list("pk", flat=True)
    while ids := list(numbers.filter(pk__gt=after)[:BATCH]):
        after = ids[-1]
        held = _read_at_rest(ids)
        yield from people.introduce(_named(held))
        for values in held.pairs:
            yield from _lines(values, held, people, newest)


def _read_at_rest(ids: list[int]) -> Held:
    """Read the pairs and their votes, again where somebody voted in between."""
    for _ in range(ATTEMPTS):
        held = _read(ids)
        if all(_counts_agree(values, held) for values in held.pairs):
            break
    return held


def _read(ids: list[int]) -> Held:
    def of(table: Table, query: QuerySet[Any], *more: str, by: str = "pair_id") -> Rows:
        kept: Rows = defaultdict(list)
        for line, key, *values in table.rows(query, by, *more):
            kept[key].append((line, *values))
        return kept

    pairs = Pair.objects.filter(pk__in=ids).order_by("pk")
    of_pair, in_order = {"pair__in": ids}, "assignment_id"
    votes = Assignment.objects.filter(**of_pair).order_by("pair_id", "pk")
    revisions = VoteRevision.objects.filter(assignment__pair__in=ids)
    answers = QualificationAnswer.objects.filter(gold__pair__in=ids).order_by("pk")
    return Held(
        list(project_tables.PAIR.rows(pairs, *_BESIDE)),
        of(project_tables.ASSIGNMENT, votes, "id", "annotator_id"),
        of(project_tables.REVISION, revisions.order_by(in_order, "revision"), by=in_order),
        of(project_tables.REWRITE, Rewrite.objects.filter(assignment__pair__in=ids), by=in_order),
        of(project_tables.LABEL, Label.objects.filter(**of_pair)),
        of(project_tables.GOLD, Gold.objects.filter(**of_pair)),
        of(project_tables.ANSWER, answers, "member__user_id", by="gold__pair_id"),
        of(project_tables.DECISION, Adjudication.objects.filter(**of_pair), "reviewer_id"),
        of(project_tables.FLAG, Flag.objects.filter(**of_pair).order_by("pk"), "annotator_id"),
    )


def _counts_agree(values: tuple[Any, ...], held: Held) -> bool:
    """True when the pair's row counts the votes that were read."""
    _, number, *_, n_a, n_b, n_tie = values
    return bool(n_a + n_b + n_tie == _standing(held.assignments[number]))


def _standing(assignments: list[tuple[Any, ...]]) -> int:
    return sum(one["state"] == "voted" and not one.get("surplus") for one, *_ in assignments)


def _named(held: Held) -> Iterator[int | None]:
    """Everybody who did something on these pairs, in a fixed order."""
    for _, number, *beside in held.pairs:
        yield beside[4]
        for line, key, who in held.assignments[number]:
            if line["state"] in DONE or held.revisions[key]:
                yield who
        for rows in (held.answers, held.decisions, held.flags):
            for _, who in rows[number]:
                yield who


def _lines(values: tuple[Any, ...], held: Held, people: Mentioned, newest: int) -> Iterator[Line]:
    line, number, prompt, a, b, retest_of, only_for, asked, balance, cast, *_ = values
    assignments = held.assignments[number]
    pair: Line = {"type": "pair", "key": line["key"], "prompt": prompt, "a": a, "b": b, **line}
    if retest_of:
        pair["retest_of"] = retest_of
    if only_for:
        pair["only_for"] = people[only_for]
    if line["state"] == Pair.State.OPEN:
        pair["asked"] = max(asked, _standing(assignments))
    pair["cast"] = max([cast, *(one.get("seq") or 0 for one, *_ in assignments)])
    pair["left_balance"] = balance - sum(_leaning(one) for one, *_ in assignments)
    pair |= {name: rows[number][0][0] for name, rows in _single(held) if rows[number]}
    for decision, reviewer in held.decisions[number]:
        pair["decision"] = {"reviewer": people.or_none(reviewer), **decision}
    if flags := held.flags[number]:
        pair["flags"] = [{"annotator": people[who], **flag} for flag, who in flags]
    yield pair
    for one, key, who in assignments:
        if one["state"] in DONE or held.revisions[key]:
            yield _assignment(one, people[who], held, key, newest)
    for answer, who in held.answers[number]:
        yield {"type": "answer", "annotator": people[who], **answer}


def _single(held: Held) -> tuple[tuple[str, Rows], ...]:
    return ("label", held.labels), ("gold", held.gold)


def _leaning(assignment: Line) -> int:
    """The share of a lease in its pair's balance of sides."""
    if assignment["state"] != Assignment.State.RESERVED or assignment.get("surplus"):
        return 0
    return 1 if assignment["left"] == "a" else -1


def _assignment(one: Line, who: str, held: Held, key: int, newest: int) -> Line:
    line: Line = {"type": "assignment", "annotator": who, **one}
    if one["state"] == Assignment.State.RESERVED:
        line["state"] = Assignment.State.RELEASED.value
    if line.get("frozen_from", 0) > newest:
        del line["frozen_from"]
    for rewrite, *_ in held.rewrites[key]:
        line["rewrite"] = rewrite
    kept = [
        {**revision, "frozen_until": min(revision["frozen_until"], newest)}
        for revision, *_ in held.revisions[key]
        if revision["frozen_from"] <= newest
    ]
    if kept:
        line["revisions"] = kept
    return line
