"""What happened to a pair, in the order of time."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from annotate.exporting.lines import pseudonyms
from annotate.models import Assignment, Pair, VoteRevision

State = Assignment.State


class Event(NamedTuple):
    """One thing that happened; `who` is a pseudonym, or empty where nobody did it."""

    at: datetime
    who: str
    what: str


def events(pair: Pair) -> list[Event]:
    """The pair's queueing, leases, votes, corrections, flags and decision, oldest first."""
    name = pseudonyms(pair.project)
    found = [Event(pair.created_at, "", _queued(pair))]
    for place in pair.assignments.all():
        who = name(place.annotator_id)
        found.append(Event(place.leased_at, who, f"got it, with {place.left.upper()} on the left"))
        if place.state == State.VOTED and place.voted_at:
            found.append(Event(place.voted_at, who, _vote(place)))
        elif place.state == State.SKIPPED and place.acted_at:
            reason = f": {place.skip_reason}" if place.skip_reason else ""
            found.append(Event(place.acted_at, who, f"skipped{reason}"))
    for old in VoteRevision.objects.filter(assignment__pair=pair).select_related("assignment"):
        found.append(Event(old.voted_at, name(old.assignment.annotator_id), _vote(old)))
    for flag in pair.flags.all():
        kind = flag.get_kind_display().lower()
        found.append(Event(flag.created_at, name(flag.annotator_id), f"flagged: {kind}"))
    if decision := getattr(pair, "adjudication", None):
        answer = f"decided: {decision.get_choice_display()}"
        category = decision.get_category_display().lower()
        by = decision.reviewer.username if decision.reviewer else "A reviewer"
        found.append(Event(decision.decided_at, by, f"{answer} ({category})"))
    return sorted(found, key=lambda event: event.at)


def _queued(pair: Pair) -> str:
    margin = "" if pair.margin is None else f", reward-model margin {pair.margin:.2f}"
    return f"Queued by {pair.source}, {pair.stream} stream, priority {pair.priority:.2f}{margin}"


def _vote(vote: Assignment | VoteRevision) -> str:
    parts = [f"voted: {vote.get_choice_display()}"]
    if vote.choice in ("a", "b"):
        parts.append(f"strength {vote.strength}")
    if vote.active_ms is not None:
        parts.append(f"{vote.active_ms / 1000:.1f} s")
    parts.append(f"guidelines {vote.guideline_version}")
    if vote.frozen_from:
        last = f" to {vote.frozen_until}" if isinstance(vote, VoteRevision) else " on"
        parts.append(f"in dataset versions from {vote.frozen_from}{last}")
    if isinstance(vote, VoteRevision):
        parts.append("changed or taken back since")
    elif vote.surplus:
        parts.append("extra, not counted")
    return ", ".join(parts)
