"""Changing a vote that stands, or adding to it: remarks, another choice, a better answer.

What a dataset version holds of the vote is kept as a revision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Max
from django.utils import timezone

from annotate.models import (
    Adjudication,
    Assignment,
    DatasetVersion,
    Pair,
    Project,
    Rewrite,
    VoteRevision,
)
from annotate.models.assignment import CriteriaAsked, ScreenChoice, Side
from annotate.people import warnings_and_pauses
from annotate.queue import resolution, slots
from annotate.queue.transactions import write
from annotate.queue.vote import SubmittedVote, VoteResult, asked, compared, completion, locked
from annotate.queue.vote_errors import Gone
from annotate.votes.dataset_versions import JUDGEMENT

State = Assignment.State
REVISED = ("choice", "strength", "guideline_version", "revision", "frozen_from")
# What a dataset version says of a vote and a later lease or vote would overwrite.
FROZEN = (*JUDGEMENT, "stream", "propensity", "acquisition", "leased_at", "frozen_from")


def remark(
    user: User,
    token: UUID,
    *,
    reasons: Sequence[str] | None = None,
    comment: str | None = None,
    criteria: Mapping[str, str] | None = None,
    in_sight: bool = False,
) -> Assignment:
    """Say more about one's own vote; what is None stays, and repeating it changes nothing.

    `reasons` and `comment` replace what stands, `criteria` (left, right or tie by name) are added
    to it, and an empty one takes back what was said; `in_sight` says that the pair was before the
    person's eyes again. Raises UnknownAssignment, Gone (the vote was taken back) or
    UnknownCriterion.
    """
    with write():
        assignment = locked(user, token)
        if assignment.state != State.VOTED:
            raise Gone("This vote was taken back.")
        said: dict[str, Any] = {}
        if reasons is not None:
            said["reasons"] = list(reasons)
        if comment is not None:
            said["comment"] = comment
        if criteria is not None:
            kept = {name: a for name, a in assignment.criteria.items() if name not in criteria}
            given = {name: side for name, side in criteria.items() if side}
            said["criteria"] = kept | compared(assignment, given)
        changed = {
            name: value for name, value in said.items() if getattr(assignment, name) != value
        }
        if changed:
            keep_revision(assignment)
            for name, value in changed.items():
                setattr(assignment, name, value)
            if "criteria" in changed:
                when = CriteriaAsked.WITH_PAIR if in_sight else CriteriaAsked.AFTER_PAIR
                assignment.criteria_asked = asked(assignment, when)
            assignment.save(update_fields=(*changed, "criteria_asked", "revision", "frozen_from"))
        return assignment


def revise(
    user: User, token: UUID, *, side: ScreenChoice, strength: int = 2, now: datetime | None = None
) -> VoteResult:
    """Change one's own vote, however old, in place: the pair's counts, slots and label follow.

    `side` is left, right, tie or both_bad. The vote keeps its number among the pair's votes, so
    it still is the first or second. Raises UnknownAssignment, or Gone when there is no vote or a
    reviewer has decided the pair.
    """
    with write():
        assignment = locked(user, token)
        submitted = SubmittedVote.of(assignment, side, strength=strength)
        if assignment.state != State.VOTED:
            raise Gone("You have no vote on this pair. It was skipped or taken back.")
        if submitted.repeats(assignment):
            return VoteResult("replayed", assignment)
        refuse_decided(assignment)
        keep_revision(assignment)
        before, assignment.choice = assignment.choice, submitted.choice
        assignment.strength = submitted.strength
        assignment.guideline_version = assignment.pair.project.guideline_version
        assignment.save(update_fields=REVISED)
        if not assignment.surplus:
            _recount(assignment, before, now=now or timezone.now())
        if assignment.pair.kind == Pair.Kind.GOLD:
            warnings_and_pauses.review(assignment)
        return VoteResult("surplus" if assignment.surplus else "stored", assignment)


def rewrite(user: User, token: UUID, *, side: Side, text: str) -> Rewrite:
    """Keep a better answer, made from the left or right one; it replaces an earlier one.

    Raises UnknownAssignment, or Gone when there is no vote or the project wants none.
    """
    if side not in ("left", "right"):
        raise ValueError("side must be left or right")
    with write():
        assignment = locked(user, token)
        if assignment.state != State.VOTED:
            raise Gone("You have no vote on this pair. It was skipped or taken back.")
        if not assignment.pair.project.allow_rewrites:
            raise Gone("This project does not ask for better answers.")
        answer = {"based_on": completion(side, assignment.left), "text": text}
        stored, _ = Rewrite.objects.update_or_create(assignment=assignment, defaults=answer)
        return stored


def refuse_decided(assignment: Assignment) -> None:
    """A reviewer's decision stands on the votes they saw."""
    if Adjudication.objects.filter(pair=assignment.pair_id).exists():
        raise Gone("A reviewer has decided this pair, so your vote on it can no longer be changed.")


def _recount(assignment: Assignment, before: str, *, now: datetime) -> None:
    old, new = slots.COUNT_OF[before], slots.COUNT_OF[assignment.choice]
    moved = f"{old} = {old} - 1, {new} = {new} + 1" if old != new else f"{old} = {old}"
    after = slots.update(assignment.pair_id, moved)
    assert after, "pairs with assignments are never deleted on their own"
    slots.recount_first_two(assignment.pair_id)
    resolution.resolve(after, voted=True, now=now)


def keep_revision(assignment: Assignment) -> None:
    """Keep a vote as the dataset versions hold it, if one does; the next is a new revision."""
    if assignment.frozen_from is None:
        return
    # The lock that freezing takes: a version is either counted here or does not hold this vote.
    project = Project.objects.select_for_update(no_key=True).get(pk=assignment.pair.project_id)
    newest = DatasetVersion.objects.filter(project=project).aggregate(n=Max("number"))["n"]
    VoteRevision.objects.create(
        assignment=assignment,
        frozen_until=newest,
        **{name: getattr(assignment, name) for name in FROZEN},
    )
    assignment.revision += 1
    assignment.frozen_from = None
