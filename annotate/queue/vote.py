"""Voting: one person's judgement on a pair, stored once whatever the network repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from annotate.models import Assignment, Pair
from annotate.models.assignment import MAX_STRENGTH, Choice, CriteriaAsked, ScreenChoice
from annotate.people import active_time, warnings_and_pauses
from annotate.queue import lease_sql, resolution, slots
from annotate.queue.lease import update_pace
from annotate.queue.transactions import write
from annotate.queue.vote_errors import (
    ChoiceConflict,
    Gone,
    OffScale,
    UnknownAssignment,
    UnknownCriterion,
)
from annotate.statements import prepared
from annotate.statements.instances import Changes
from annotate.votes.scales import off_scale

Status = Literal["stored", "replayed", "surplus"]
State = Assignment.State


DECIDED = (Choice.A, Choice.B)
# Whether these are on the scale need not be asked, which would cost every vote a query.
ON_EVERY_SCALE = (("left", 2), ("right", 2))
INPUTS = ("", "key", "click", "touch")


@dataclass(frozen=True)
class VoteResult:
    """A vote as it is stored now, and whether this request stored it."""

    status: Status
    assignment: Assignment


@dataclass(frozen=True, kw_only=True)
class SubmittedVote:
    """A vote as it was handed in."""

    choice: str
    strength: int
    reasons: Sequence[str] = ()
    comment: str = ""
    criteria: Mapping[str, str] = field(default_factory=dict)
    active_ms: int | None = None
    first_key_ms: int | None = None
    wall_ms: int | None = None
    input: str = ""
    simulated: bool = False

    @classmethod
    def of(
        cls,
        assignment: Assignment,
        side: str,
        *,
        strength: int,
        criteria: Mapping[str, str] | None = None,
        **rest: Any,
    ) -> SubmittedVote:
        """Strength means nothing where neither completion was preferred."""
        choice = completion(side, assignment.left)
        return cls(
            choice=choice,
            strength=strength if choice in DECIDED else 0,
            criteria=compared(assignment, criteria or {}),
            **rest,
        )

    def __post_init__(self) -> None:
        if self.choice not in Choice.values:
            raise ValueError(f"choice must be one of {', '.join(Choice.values)}")
        if self.strength not in range(MAX_STRENGTH + 1):
            raise ValueError(f"strength must be a whole number from 0 to {MAX_STRENGTH}")
        if self.input not in INPUTS:
            raise ValueError(f"input must be one of {', '.join(INPUTS[1:])}")

    def repeats(self, stored: Assignment) -> bool:
        return (self.choice, self.strength) == (stored.choice, stored.strength)


def completion(side: str, left: str) -> str:
    """The completion on a side of the screen: left and right become a or b, the rest stays."""
    return {"left": left, "right": "b" if left == "a" else "a"}.get(side, side)


def compared(assignment: Assignment, criteria: Mapping[str, str]) -> dict[str, str]:
    """Comparisons by criterion (left, right or tie) relative to the completions.

    Raises UnknownCriterion for one that the project does not have.
    """
    if not criteria:
        return {}
    known = assignment.pair.project.criteria
    unknown = [name for name in criteria if name not in known]
    if unknown:
        raise UnknownCriterion(f"The project has no criterion “{unknown[0][:40]}”.")
    comparisons = {name: completion(side, assignment.left) for name, side in criteria.items()}
    if not set(comparisons.values()) <= {*DECIDED, Choice.TIE}:
        raise UnknownCriterion("A criterion is compared as left, right or tie.")
    return comparisons


def vote(user: User, token: UUID, *, choice: str, strength: int = 2, **rest: Any) -> VoteResult:
    """Store the user's vote on the assignment with this token.

    `choice` is about the completions: a, b, tie or both_bad. `strength` is 0 (negligibly) to
    MAX_STRENGTH and means nothing for tie and both_bad; `rest` is what `SubmittedVote` has
    besides, and `now`. The same vote again is "replayed". A vote that comes after its lease ended
    takes a slot if one is free, else it is kept as "surplus".

    Raises UnknownAssignment, ChoiceConflict (another vote stands) or Gone (skipped).
    """
    if choice not in Choice.values:
        raise ValueError(f"choice must be one of {', '.join(Choice.values)}")
    return _vote(user, token, choice, strength=strength, **rest)


def vote_side(
    user: User, token: UUID, side: ScreenChoice, *, strength: int = 2, **rest: Any
) -> VoteResult:
    """Like `vote`, with a choice as the screen words it: left, right, tie or both_bad.

    `criteria` compares the sides as well: {"Helpful": "left"}. With `on_scale`, a vote for which
    the project's scale has no button raises OffScale.
    """
    return _vote(user, token, side, strength=strength, **rest)


def _vote(
    user: User,
    token: UUID,
    side: str,
    *,
    strength: int,
    on_scale: bool = False,
    now: datetime | None = None,
    **rest: Any,
) -> VoteResult:
    """Store a vote worded by sides or by completions: the first become the second."""
    with write():
        assignment = locked(user, token, membership=True)
        submitted = SubmittedVote.of(assignment, side, strength=strength, **rest)
        if assignment.state == State.SKIPPED:
            raise Gone("You skipped this pair. Undo the skip to vote on it.")
        if assignment.state == State.VOTED:
            if not submitted.repeats(assignment):
                raise ChoiceConflict
            return VoteResult("replayed", assignment)
        if on_scale and (side, strength) not in ON_EVERY_SCALE:
            scale = assignment.pair.project.scale
            if problems := off_scale(scale, side, submitted.strength):
                raise OffScale(problems)
        return _store(assignment, submitted, now=now or timezone.now())


def locked(user: User, token: UUID, *, membership: bool = False) -> Assignment:
    """The user's assignment, read while its pair is locked, on request with their membership.

    Raises UnknownAssignment.
    """
    assignment = lease_sql.lock(user=user.pk, token=token, membership=membership)
    if assignment is None:
        raise UnknownAssignment
    return assignment


def _store(assignment: Assignment, submitted: SubmittedVote, *, now: datetime) -> VoteResult:
    pair = assignment.pair
    holds_slot = assignment.state == State.RESERVED and not assignment.surplus
    at_once = holds_slot and resolution.follows_from_counts(pair)
    holds_slot = holds_slot or slots.take(assignment.pair_id, left=assignment.left) is not None
    _fill_in(assignment, submitted, now=now)
    assignment.surplus = not holds_slot
    if at_once:
        _store_and_settle(assignment, now=now)
    else:
        after = slots.count_vote(
            assignment.pair_id, submitted.choice, holds_slot=holds_slot, **_cast(assignment, now)
        )
        assignment.seq = after.cast
        prepared.execute(STORE.sql, STORE.of(assignment))
        if holds_slot:
            resolution.resolve(after, voted=True, now=now)
    if pair.kind == Pair.Kind.GOLD:
        warnings_and_pauses.review(assignment)
    update_pace(assignment)
    return VoteResult("stored" if holds_slot else "surplus", assignment)


def _fill_in(assignment: Assignment, submitted: SubmittedVote, *, now: datetime) -> None:
    assignment.state = State.VOTED
    assignment.reasons = list(submitted.reasons)
    assignment.criteria = dict(submitted.criteria)
    assignment.criteria_asked = asked(assignment)
    for name in AS_HANDED_IN:
        setattr(assignment, name, getattr(submitted, name))
    assignment.active_ms = active_time.counted(assignment, submitted.active_ms)
    assignment.voted_at = assignment.acted_at = now
    assignment.expires_at = None


def _cast(vote: Assignment, now: datetime) -> dict[str, Any]:
    return {"by": vote.annotator_id, "now": now, "simulated": vote.simulated}


def _store_and_settle(vote: Assignment, *, now: datetime) -> None:
    """Count a vote that holds a slot, settle its pair and store it: what else takes three
    statements, in one on PostgreSQL and two on SQLite, where the counts alone decide."""
    after = slots.after_vote(vote.pair, vote.choice)
    state, excess = resolution.settled(after)
    vote.seq = after.cast
    counted = f"UPDATE annotate_pair SET {slots.counting(vote.choice, True)}, {resolution.SETTLED}"
    counted += f" WHERE id = %(pair)s RETURNING {slots.HAS_WEBHOOKS}"
    settled_at = None if state == Pair.State.OPEN else now
    parameters = slots.counted(vote.choice, **_cast(vote, now)) | {
        "pair": after.id,
        "excess": excess,
        "state": str(state),
        "settled_at": settled_at,
    }
    if connection.vendor == "postgresql":
        both = f"WITH stored AS ({STORE.sql}), pair AS ({counted}) SELECT * FROM pair"
        row = prepared.row(both, parameters | STORE.of(vote))
    else:
        prepared.execute(STORE.sql, STORE.of(vote))
        row = prepared.row(counted, parameters)
    assert row, "pairs with assignments are never deleted on their own"
    resolution.follow(replace(after, has_webhooks=bool(row[0])), state, voted=True)


def asked(assignment: Assignment, when: str = CriteriaAsked.WITH_PAIR) -> str:
    """The mark of a vote's criteria: `when` they were compared, if they were."""
    if assignment.criteria:
        return when
    return CriteriaAsked.UNASKED if assignment.pair.project.criteria else ""


AS_HANDED_IN = (
    "choice",
    "strength",
    "comment",
    "active_ms",
    "first_key_ms",
    "wall_ms",
    "input",
    "simulated",
)
STORED = (
    *AS_HANDED_IN,
    "state",
    "reasons",
    "criteria",
    "criteria_asked",
    "surplus",
    "seq",
    "voted_at",
    "acted_at",
    "expires_at",
)
STORE = Changes(Assignment, STORED)
