"""Pairs of a project's file, with everything that people did on them, as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from annotate.exporting.project import project_tables
from annotate.exporting.project.project_tables import Table
from annotate.importing.project.line_kinds import Act, Answer, PairLine
from annotate.importing.project.line_values import Values, moment, stored
from annotate.importing.storage.bulk_insert import Columns, stored_time
from annotate.models import Assignment, Pair
from annotate.models.content import is_held_out
from annotate.queue import recount
from annotate.queue.recount import StandingVote

Row = tuple[Any, ...]


def columns(table: Table, *more: str, **same: Any) -> Columns:
    """The columns of a table that are written: `more`, then those that a line holds."""
    return Columns(table.model, (*more, *table.fields), **same)


_PAIRS = columns(
    project_tables.PAIR,
    *("id", "project_id", "imported_by_id", "prompt_id", "completion_a_id", "completion_b_id"),
    *(
        "retest_of_id",
        "only_for_id",
        "arms",
        "asked",
        "cast",
        "left_balance",
        *recount.Counted._fields,
    ),
    # Nobody is offered them before the whole project is there.
    open_slots=0,
)
_LABELS = columns(project_tables.LABEL, "pair_id")
_GOLD = columns(project_tables.GOLD, "id", "pair_id")
_ANSWERS = columns(project_tables.ANSWER, "gold_id", "member_id")
_DECISIONS = columns(project_tables.DECISION, "pair_id", "reviewer_id")
_FLAGS = columns(project_tables.FLAG, "pair_id", "annotator_id")
_ACTS = columns(
    project_tables.ASSIGNMENT, "id", "pair_id", "annotator_id", "imported_by_id", expires_at=None
)
_REVISIONS = columns(project_tables.REVISION, "assignment_id")
_REWRITES = columns(project_tables.REWRITE, "assignment_id")


@dataclass(frozen=True, slots=True)
class Group:
    """A pair and the lines behind it."""

    pair: PairLine
    acts: list[Act] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def parts(self) -> int:
        """Rows that it makes."""
        return 2 + len(self.acts) + len(self.answers) + sum(len(a.revisions) for a in self.acts)


def _arms(pair: PairLine) -> str:
    """The arms that may lease it, which the file does not tell: they follow from the rest."""
    chosen = pair.values["stream"] == Pair.Stream.ACTIVE
    held_out = is_held_out(pair.prompt)
    return str(Pair.arms_of(pair.values["kind"], held_out=held_out, chosen=chosen))


@dataclass(frozen=True)
class PairWriter:
    """Writes groups in the caller's transaction."""

    project: int
    by: int
    user: Callable[[str], int]
    member: Callable[[str], int]

    def write(self, groups: list[Group], numbers: dict[str, int]) -> dict[str, int]:
        """Add the rows; `numbers` are those of prompts and completions, and of pairs that are
        named. Returns the new pairs' numbers by their keys."""
        ids = dict(zip(map(_key, groups), _PAIRS.take_ids(len(groups)), strict=True))
        known = numbers | {f"pair {key}": number for key, number in ids.items()}
        _PAIRS.insert([self._pair(group, ids[_key(group)], known) for group in groups])
        self._write_beside(groups, ids)
        self._write_acts([(ids[_key(group)], act) for group in groups for act in group.acts])
        return ids

    def _pair(self, group: Group, number: int, known: dict[str, int]) -> Row:
        pair = group.pair
        counted = recount.tally(self._standing(group.acts), wanted=pair.values["wanted"])
        votes = counted.n_a + counted.n_b + counted.n_tie
        times = {"second_at", "last_vote_at"}
        return (
            number,
            self.project,
            self.by,
            known[f"prompt {pair.prompt}"],
            known[f"completion {pair.prompt} {pair.a}"],
            known[f"completion {pair.prompt} {pair.b}"],
            known[f"pair {pair.retest_of}"] if pair.retest_of else None,
            self.user(pair.only_for) if pair.only_for else None,
            _arms(pair),
            votes if pair.asked is None else pair.asked,
            pair.cast,
            pair.left_balance,
            *(
                stored_time(value) if name in times else value
                for name, value in counted._asdict().items()
            ),
            *stored(project_tables.PAIR, pair.values),
        )

    def _standing(self, acts: Iterable[Act]) -> list[StandingVote]:
        votes = [
            (act.values["seq"], act.annotator, act.values)
            for act in acts
            if act.values["state"] == Assignment.State.VOTED and not act.values["surplus"]
        ]
        # Of votes with one number the first in the file was the first.
        votes.sort(key=lambda vote: vote[0])
        return [
            StandingVote(
                choice=values["choice"],
                strength=values["strength"],
                by=self.user(who),
                at=moment(values["voted_at"]),
                simulated=values["simulated"],
            )
            for _, who, values in votes
        ]

    def _write_beside(self, groups: list[Group], ids: dict[str, int]) -> None:
        """Labels, known answers, decisions and flags."""
        with_gold = [group for group in groups if group.pair.gold]
        gold = dict(zip(map(_key, with_gold), _GOLD.take_ids(len(with_gold)), strict=True))
        _LABELS.insert(_rows(project_tables.LABEL, ((ids[_key(g)], g.pair.label) for g in groups)))
        _GOLD.insert(
            [
                (
                    gold[_key(group)],
                    ids[_key(group)],
                    *stored(project_tables.GOLD, group.pair.gold or {}),
                )
                for group in with_gold
            ]
        )
        _ANSWERS.insert(
            [
                (gold[_key(group)], self.member(who), *stored(project_tables.ANSWER, values))
                for group in with_gold
                for who, values in group.answers
            ]
        )
        self._write_said(groups, ids)

    def _write_said(self, groups: list[Group], ids: dict[str, int]) -> None:
        decided = [(ids[_key(group)], group.pair.decision) for group in groups]
        _DECISIONS.insert(
            [
                (
                    pair,
                    self.user(one[0]) if one[0] else None,
                    *stored(project_tables.DECISION, one[1]),
                )
                for pair, one in decided
                if one
            ]
        )
        _FLAGS.insert(
            [
                (ids[_key(group)], self.user(who or ""), *stored(project_tables.FLAG, values))
                for group in groups
                for who, values in group.pair.flags
            ]
        )

    def _write_acts(self, acts: list[tuple[int, Act]]) -> None:
        numbered = list(zip(_ACTS.take_ids(len(acts)), acts, strict=True))
        _ACTS.insert(
            [
                (
                    number,
                    pair,
                    self.user(act.annotator),
                    self.by,
                    *stored(project_tables.ASSIGNMENT, act.values),
                )
                for number, (pair, act) in numbered
            ]
        )
        revisions = [(number, one) for number, (_, act) in numbered for one in act.revisions]
        _REVISIONS.insert(_rows(project_tables.REVISION, revisions))
        _REWRITES.insert(
            _rows(project_tables.REWRITE, ((number, act.rewrite) for number, (_, act) in numbered))
        )


def _rows(table: Table, of: Iterable[tuple[int, Values | None]]) -> list[Row]:
    """Rows of a table whose one other column is the number of what they belong to."""
    return [(number, *stored(table, values)) for number, values in of if values is not None]


def _key(group: Group) -> str:
    key: str = group.pair.values["key"]
    return key
