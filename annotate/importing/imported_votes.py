"""Imported votes, counted by the rules that live votes follow."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from annotate.importing.imported_annotators import Annotators
from annotate.models import Assignment, Label, Pair
from annotate.models.content import share_of
from annotate.queue import resolution, slots
from annotate.votes import labels

# Tables do not say how strongly, nor on which guidelines, the annotator judged.
STRENGTH = 2
NO_GUIDELINES = 0


class ImportedVote(NamedTuple):
    pair: Pair
    annotator: int
    choice: str
    seq: int = 0


def count_votes(pair: Pair, votes: Iterable[tuple[int, str]], *, now: datetime) -> None:
    """Set the columns of a pair that is not stored yet: nobody else can hold a slot of it."""
    for annotator, choice in votes:
        if not pair.second:
            column = "second" if pair.first else "first"
            setattr(pair, column, labels.CLASS[choice])
            setattr(pair, f"{column}_by_id", annotator)
            pair.second_at = now if pair.second else None
        column = slots.COUNT_OF[choice]
        setattr(pair, column, getattr(pair, column) + 1)
        pair.cast += 1
        pair.last_vote_at = now
    if not pair.cast:
        return
    # Votes that a table holds_slot were all asked for, whatever the project asks of its own pairs.
    pair.limit = max(pair.limit, pair.cast)
    pair.state, pair.asked = resolution.state_and_votes_asked(_slot_counts(pair))
    pair.open_slots = pair.asked - pair.votes
    pair.resolved_at = None if pair.state == Pair.State.OPEN else now


def add_votes(
    votes: list[tuple[Pair, dict[str, str]]],
    *,
    new: set[int],
    annotators: Annotators,
    now: datetime,
) -> int:
    """Store votes. Pairs in `new` have counted theirs; on others, only those of new people."""
    cast = [
        ImportedVote(pair, annotators.user_id(name), choice, seq)
        for pair, choices in votes
        for seq, (name, choice) in enumerate(choices.items(), start=1)
    ]
    fresh = [_assignment(one, now=now) for one in cast if one.pair.pk in new]
    Assignment.objects.bulk_create(fresh)
    _label([pair for pair, _ in votes if pair.pk in new], fresh)
    return len(fresh) + _add_to_known([one for one in cast if one.pair.pk not in new], now=now)


def _label(pairs: list[Pair], assignments: list[Assignment]) -> None:
    votes: dict[int, list[tuple[str, int]]] = {}
    for one in assignments:
        votes.setdefault(one.pair_id, []).append((one.choice, one.strength))
    decided = (pair for pair in pairs if pair.state != Pair.State.OPEN)
    verdicts = ((pair, labels.verdict(votes[pair.pk])) for pair in decided)
    Label.objects.bulk_create(
        Label(pair=pair, **labels.columns(verdict)) for pair, verdict in verdicts if verdict
    )


def _add_to_known(cast: list[ImportedVote], *, now: datetime) -> int:
    """Votes on pairs that were there before: each takes a free slot, or is kept as surplus."""
    had = set(
        Assignment.objects.filter(pair__in={one.pair.pk for one in cast}).values_list(
            "pair_id", "annotator_id"
        )
    )
    added = [one for one in cast if (one.pair.pk, one.annotator) not in had]
    for one in sorted(added, key=lambda one: one.pair.pk):
        left = _left(one)
        holds_slot = slots.take(one.pair.pk, left=left) is not None
        after = slots.count_vote(
            one.pair.pk, one.choice, holds_slot=holds_slot, by=one.annotator, now=now
        )
        assignment = _assignment(one._replace(seq=after.cast), now=now)
        assignment.surplus = not holds_slot
        assignment.save()
        if holds_slot:
            resolution.resolve(after, voted=True, now=now)
    return len(added)


def _assignment(one: ImportedVote, *, now: datetime) -> Assignment:
    return Assignment(
        pair_id=one.pair.pk,
        annotator_id=one.annotator,
        state=Assignment.State.VOTED,
        left=_left(one),
        stream=one.pair.stream,
        leased_at=now,
        voted_at=now,
        acted_at=now,
        choice=one.choice,
        strength=STRENGTH if one.choice in ("a", "b") else 0,
        seq=one.seq,
        guideline_version=NO_GUIDELINES,
    )


def _left(one: ImportedVote) -> str:
    """The side is unknown; drawn from the key, so that no side is favoured."""
    return "a" if share_of(f"left:{one.pair.key}:{one.annotator}") < 0.5 else "b"


def _slot_counts(pair: Pair) -> slots.SlotCounts:
    return slots.SlotCounts(**{name: getattr(pair, name) for name in slots.COLUMNS})
