"""Voting: one person's judgement on a pair, stored once whatever the network repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import Assignment
from annotate.models.assignment import Choice
from annotate.queue import places, statements
from annotate.queue.errors import ChoiceConflict, Gone, UnknownAssignment
from annotate.queue.transaction import write

Status = Literal["stored", "replayed", "surplus"]
State = Assignment.State


@dataclass(frozen=True)
class Cast:
    """What became of a vote."""

    status: Status
    assignment: Assignment


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """A vote as it was handed in."""

    choice: str
    strength: int
    reasons: Sequence[str] = ()
    comment: str = ""
    active_ms: int | None = None
    simulated: bool = False

    @classmethod
    def of(cls, choice: str, *, strength: int, **rest: Any) -> Ballot:
        """Strength means nothing where neither completion was preferred."""
        decided = choice in (Choice.A, Choice.B)
        return cls(choice=choice, strength=strength if decided else 0, **rest)

    def __post_init__(self) -> None:
        if self.choice not in Choice.values:
            raise ValueError(f"choice must be one of {', '.join(Choice.values)}")
        if self.strength not in (0, 1, 2, 3):
            raise ValueError("strength must be 1, 2 or 3")

    def repeats(self, stored: Assignment) -> bool:
        return (self.choice, self.strength) == (stored.choice, stored.strength)


def vote(
    user: User,
    token: UUID,
    *,
    choice: str,
    strength: int = 2,
    reasons: Sequence[str] = (),
    comment: str = "",
    active_ms: int | None = None,
    simulated: bool = False,
    now: datetime | None = None,
) -> Cast:
    """Store the user's vote on the assignment with this token.

    `choice` is about the completions: a, b, tie or both_bad. `strength` is 1 to 3 and means
    nothing for tie and both_bad. The same vote again is "replayed". A vote that comes after its
    lease ended takes a place if one is free, else it is kept as "surplus".

    Raises UnknownAssignment, ChoiceConflict (another vote stands) or Gone (skipped).
    """
    return _cast(
        user,
        token,
        choice=lambda left: choice,
        strength=strength,
        reasons=reasons,
        comment=comment,
        active_ms=active_ms,
        simulated=simulated,
        now=now,
    )


def vote_side(user: User, token: UUID, side: str, *, strength: int = 2, **rest: Any) -> Cast:
    """Like `vote`, with a choice as the screen words it: left, right, tie or both_bad."""

    def choice(left: str) -> str:
        return {"left": left, "right": "b" if left == "a" else "a"}.get(side, side)

    return _cast(user, token, choice=choice, strength=strength, **rest)


def _cast(
    user: User,
    token: UUID,
    *,
    choice: Callable[[str], str],
    now: datetime | None = None,
    **rest: Any,
) -> Cast:
    """`choice` is asked with the completion on the left of the person's screen."""
    with write():
        assignment = locked(user, token)
        ballot = Ballot.of(choice(assignment.left), **rest)
        if assignment.state == State.SKIPPED:
            raise Gone("You skipped this pair. Undo the skip to vote on it.")
        if assignment.state == State.VOTED:
            if not ballot.repeats(assignment):
                raise ChoiceConflict
            return Cast("replayed", assignment)
        return _store(assignment, ballot, now=now or timezone.now())


def locked(user: User, token: UUID) -> Assignment:
    """The user's assignment, read while its pair is locked. Raises UnknownAssignment."""
    found = statements.lock(user=user.pk, token=token)
    if found is None:
        raise UnknownAssignment
    # Its own row too: a dataset version that is freezing this vote comes before or after.
    return Assignment.objects.select_for_update(no_key=True).get(pk=found)


def _store(assignment: Assignment, ballot: Ballot, *, now: datetime) -> Cast:
    holds = assignment.state == State.RESERVED and not assignment.surplus
    holds = holds or places.take(assignment.pair_id, left=assignment.left) is not None
    count = places.COUNT_OF[ballot.choice]
    counted = f"{count} = {count} + 1, " if holds else ""
    after = places.change(assignment.pair_id, f'{counted}"cast" = "cast" + 1')
    assert after, "pairs with assignments are never deleted on their own"
    assignment.state = State.VOTED
    assignment.choice = ballot.choice
    assignment.strength = ballot.strength
    assignment.reasons = list(ballot.reasons)
    assignment.comment = ballot.comment
    assignment.active_ms = ballot.active_ms
    assignment.simulated = ballot.simulated
    assignment.surplus = not holds
    assignment.seq = after.cast
    assignment.voted_at = assignment.acted_at = now
    assignment.expires_at = None
    assignment.save(update_fields=STORED)
    if holds:
        places.settle(after, voted=True, now=now)
    return Cast("stored" if holds else "surplus", assignment)


STORED = (
    "state",
    "choice",
    "strength",
    "reasons",
    "comment",
    "active_ms",
    "simulated",
    "surplus",
    "seq",
    "voted_at",
    "acted_at",
    "expires_at",
)
