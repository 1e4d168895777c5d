"""History of a pair in the order of time, and the reason it was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from math import tanh
from typing import NamedTuple

from annotate.models import Assignment, Completion, Pair, Rewrite, VoteRevision
from annotate.models.assignment import CriteriaAsked
from annotate.review.source_columns import Rated, ratings
from annotate.votes import scales
from annotate.votes.export_values import pseudonyms

State = Assignment.State


class Event(NamedTuple):
    """One thing that happened; `who` is a name, or empty where nobody did it."""

    at: datetime
    who: str
    what: str
    said: str = ""
    """In the person's own words."""
    pair: int | None = None
    """Another pair that it is about."""


class Author(NamedTuple):
    """Origin of one side of a pair."""

    letter: str
    completion: Completion
    policy: str
    round: int | None
    ratings: list[Rated]


def authors(pair: Pair) -> list[Author]:
    """A and B, with the policy that wrote each and what was said of each by itself."""
    sides = (("A", pair.completion_a, pair.policy_a), ("B", pair.completion_b, pair.policy_b))
    rated = ratings(pair.project, [completion.pk for _, completion, _ in sides])
    return [
        Author(
            letter=letter,
            completion=side,
            # A text that several policies wrote is one completion, with the name of the first.
            policy=named or side.policy,
            round=round_of(side.source),
            ratings=rated.get(side.pk, []),
        )
        for letter, side, named in sides
    ]


def round_of(source: str) -> int | None:
    """The number of the round that a source is named after."""
    match = re.fullmatch(r"round-([0-9]{1,9})", source)
    return int(match[1]) if match else None


def probability_of_a(pair: Pair) -> float | None:
    """Probability that the reward model gave A when the pair was queued."""
    return None if pair.margin is None else 0.5 + 0.5 * tanh(pair.margin / 2)


def events(pair: Pair) -> list[Event]:
    """Everything that is known to have happened to the pair, oldest first.

    A vote that was taken back before a dataset version held it has left no trace.
    """
    name = pseudonyms(pair.project)
    assignments = list(pair.assignments.select_related("rewrite", "imported_by"))
    revisions = list(
        VoteRevision.objects.filter(assignment__pair=pair).select_related("assignment")
    )
    offered = pair.get_arms_display().lower()
    history = [Event(pair.created_at, "", f"Queued by {pair.source}, offered: {offered}")]
    for assignment in assignments:
        history += _lease_and_outcome(assignment, name(assignment.annotator_id))
    for old in revisions:
        history += _replaced(old, name(old.assignment.annotator_id), pair.project.scale)
    history += _versions(pair, [*assignments, *revisions])
    history += _warnings(pair, name)
    history += _checks(pair, name)
    if pair.resolved_at:
        history.append(Event(pair.resolved_at, "", f"Became {pair.get_state_display().lower()}"))
    return sorted(history, key=lambda event: event.at)


def _lease_and_outcome(assignment: Assignment, who: str) -> Iterator[Event]:
    """The lease, what became of it, and what was said beside it."""
    if assignment.imported:
        yield _imported(assignment, who)
        return
    assert assignment.leased_at and assignment.propensity is not None, "only files leave them out"
    lease = f"got it with {assignment.left.upper()} on the left"
    ranked = f", ranked by {assignment.acquisition}" if assignment.acquisition else ""
    lease += f", by the {assignment.stream} arm (probability {assignment.propensity:.2f}){ranked}"
    if assignment.state == State.RELEASED:
        lease += "; the lease ended without an answer"
    yield Event(assignment.leased_at, who, lease)
    if assignment.state == State.VOTED and assignment.voted_at:
        said = _vote(assignment, assignment.pair.project.scale)
        yield Event(assignment.voted_at, who, f"voted: {said}", assignment.comment)
    elif assignment.state == State.SKIPPED and assignment.acted_at:
        reason = scales.SKIP_REASONS.get(assignment.skip_reason, assignment.skip_reason)
        yield Event(assignment.acted_at, who, f"skipped: {reason}" if reason else "skipped")
    if written := _rewrite(assignment):
        what = f"wrote a better answer, from {written.based_on.upper()}"
        yield Event(written.updated_at, who, what, written.text)


def _imported(vote: Assignment, who: str) -> Event:
    """A vote from a file: when it was cast, or else when it came in."""
    told = vote.voted_at if not vote.stream else None
    file = f" from {vote.imported_by.file_name}" if vote.imported_by else ""
    what = f"vote imported{file}: {_vote(vote, vote.pair.project.scale)}"
    return Event(told or vote.acted_at or vote.pair.created_at, who, what, vote.comment)


def _rewrite(assignment: Assignment) -> Rewrite | None:
    return getattr(assignment, "rewrite", None)


def _replaced(old: VoteRevision, who: str, scale: str) -> Iterator[Event]:
    """A vote that was changed or taken back after a version held it."""
    cast = old.voted_at or old.assignment.acted_at or old.replaced_at
    yield Event(min(cast, old.replaced_at), who, f"voted: {_vote(old, scale)}", old.comment)
    kept = f"version {old.frozen_from} keeps"
    if old.frozen_until > old.frozen_from:
        kept = f"versions {old.frozen_from} to {old.frozen_until} keep"
    yield Event(old.replaced_at, who, f"changed the vote or took it back; dataset {kept} it")


def _versions(pair: Pair, votes: list[Assignment | VoteRevision]) -> Iterator[Event]:
    """The dataset versions that were the first to hold one of the votes."""
    firsts = [vote.frozen_from for vote in votes if vote.frozen_from]
    for version in pair.project.dataset_versions.filter(number__in=firsts):
        n = firsts.count(version.number)
        what = f"Dataset version {version.number} took {n} vote{'' if n == 1 else 's'} in"
        yield Event(version.created_at, "", what)


def _warnings(pair: Pair, name: Callable[[int], str]) -> Iterator[Event]:
    """Flags, and what reviewers made of the pair."""
    for flag in pair.flags.all():
        kind = flag.get_kind_display().lower()
        yield Event(flag.created_at, name(flag.annotator_id), f"warned: {kind}")
        if flag.settled_at:
            yield Event(flag.settled_at, "", f"The warning of {kind} was settled")
    if decision := getattr(pair, "adjudication", None):
        answer = scales.stated(pair.project.scale, decision.choice, decision.strength)
        category = decision.get_category_display().lower()
        by = decision.reviewer.username if decision.reviewer else "A reviewer"
        what = f"decided: {answer} ({category})"
        yield Event(decision.decided_at, by, what, decision.rationale)


def _checks(pair: Pair, name: Callable[[int], str]) -> Iterator[Event]:
    """Uses of the pair to check annotators."""
    for again in Pair.objects.filter(retest_of=pair).order_by("pk"):
        who = name(again.only_for_id) if again.only_for_id else ""
        yield Event(again.created_at, who, "is asked once more, sides swapped", "", again.pk)
    if gold := getattr(pair, "gold", None):
        right = scales.stated(pair.project.scale, gold.expected, None)
        yield Event(gold.created_at, "", f"Became a gold pair: {right}", gold.explanation)


def _vote(vote: Assignment | VoteRevision, scale: str) -> str:
    parts = [scales.stated(scale, vote.choice, vote.strength)]
    parts += [f"{name}: {side.upper()}" for name, side in vote.criteria.items()]
    if vote.criteria and vote.criteria_asked == CriteriaAsked.AFTER_PAIR:
        parts.append("criteria asked after the pair")
    parts += vote.reasons
    if vote.active_ms is not None:
        parts.append(f"{vote.active_ms / 1000:.1f} s")
    # Imported votes refer to no version of the guidelines.
    if vote.guideline_version:
        parts.append(f"guidelines {vote.guideline_version}")
    if vote.simulated:
        parts.append("simulated")
    if vote.surplus:
        parts.append("extra, not counted")
    return ", ".join(parts)
