"""Skipping, and taking the last vote or skip back."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import Assignment, Project
from annotate.queue import lease_sql, resolution, slots
from annotate.queue.lease import lease_length, release
from annotate.queue.revision import keep_revision, refuse_decided
from annotate.queue.skip_reasons_and_flags import object_to, withdraw
from annotate.queue.transactions import write
from annotate.queue.vote import STORED, locked
from annotate.queue.vote_errors import Gone, UnknownAssignment

State = Assignment.State


def skip(user: User, token: UUID, *, reason: str = "", now: datetime | None = None) -> Assignment:
    """Give the pair up for good; it is never offered to this person again.

    `reason` is one of scales.SKIP_REASONS, or any short text; what follows from it is said
    there. Raises UnknownAssignment, or Gone when the person voted on it.
    """
    with write():
        assignment = locked(user, token)
        if assignment.state == State.VOTED:
            raise Gone("You voted on this pair. Undo the vote to skip it.")
        if assignment.state == State.SKIPPED:
            return assignment
        held = assignment.state == State.RESERVED and not assignment.surplus
        assignment.state = State.SKIPPED
        assignment.skip_reason = reason
        assignment.surplus = False
        assignment.acted_at = now or timezone.now()
        assignment.expires_at = None
        assignment.save(update_fields=("state", "skip_reason", "surplus", "acted_at", "expires_at"))
        if held:
            resolution.give_back(assignment.pair_id, left=assignment.left)
        object_to(assignment)
        return assignment


def undo(user: User, project: Project, *, now: datetime | None = None) -> Assignment | None:
    """Take the person's last vote or skip in the project back; None when there is none.

    The pair is theirs again: the assignment returned is reserved.
    """
    last = Assignment.objects.of_member(user).in_project(project).last_vote_or_skip()
    return _take_back(user, last, now=now or timezone.now()) if last else None


def undo_token(user: User, token: UUID, *, now: datetime | None = None) -> Assignment:
    """Like `undo`, for the assignment a script names; repeating it changes nothing.

    Raises UnknownAssignment, or Gone when the person has voted or skipped elsewhere since.
    """
    own = Assignment.objects.of_member(user).select_related("pair__project")
    assignment = own.filter(token=token).first()
    if assignment is None:
        raise UnknownAssignment
    if assignment.state == State.RESERVED:
        return assignment
    if assignment != own.in_project(assignment.pair.project).last_vote_or_skip():
        raise Gone("Only your last vote or skip can be taken back.")
    return _take_back(user, assignment, now=now or timezone.now())


def renew(user: User, token: UUID, *, now: datetime | None = None) -> datetime | None:
    """Hold a lease for longer, because its owner still looks at the pair; until when.

    None when the lease has ended. Raises UnknownAssignment.
    """
    now = now or timezone.now()
    with write():
        assignment = locked(user, token)
        if assignment.state != State.RESERVED:
            return None
        assignment.expires_at = now + _lease_length(assignment)
        assignment.save(update_fields=["expires_at"])
        return assignment.expires_at


def _lease_length(assignment: Assignment) -> timedelta:
    """Length of a lease of this person."""
    project = assignment.pair.project
    member = lease_sql.member(project=project.pk, user=assignment.annotator_id)
    return lease_length(project, member.pace_ms if member else None)


def _take_back(user: User, last: Assignment, *, now: datetime) -> Assignment:
    with write():
        spare = _spare_leases(user, last)
        slots.lock([last.pair_id, *(lease.pair_id for lease in spare)])
        assignment = locked(user, last.token)
        if assignment.state not in (State.VOTED, State.SKIPPED):
            # Another request of the same person took it back at this moment.
            return assignment
        if assignment.state == State.VOTED:
            refuse_decided(assignment)
        for lease in _spare_leases(user, last):
            if lease in spare:
                release(lease)
        keep_revision(assignment)
        if assignment.state == State.VOTED and not assignment.surplus:
            _uncount(assignment, now=now)
        else:
            if assignment.state == State.SKIPPED:
                withdraw(assignment)
            slot = slots.take(assignment.pair_id, left=assignment.left)
            assignment.surplus = slot is None
        _reserve_again(assignment, now=now)
        return assignment


def _spare_leases(user: User, last: Assignment) -> list[Assignment]:
    """Leases beyond the one that may stand beside the pair that comes back."""
    own = Assignment.objects.leased().filter(annotator=user, pair__project=last.pair.project_id)
    return list(own.exclude(pk=last.pk).order_by("leased_at", "pk")[1:])


def _uncount(assignment: Assignment, *, now: datetime) -> None:
    after = slots.uncount_vote(assignment.pair_id, assignment.choice)
    # First, because the label is computed from the votes that still stand.
    Assignment.objects.filter(pk=assignment.pk).update(state=State.RESERVED, expires_at=now)
    slots.recount_first_two(assignment.pair_id)
    resolution.resolve(after, voted=True, now=now)


def _reserve_again(assignment: Assignment, *, now: datetime) -> None:
    assignment.state = State.RESERVED
    assignment.choice = ""
    assignment.strength = 0
    assignment.reasons = []
    assignment.comment = ""
    # For the screen that shows the pair again; nothing is kept of a vote that was taken back.
    assignment.taken_back = assignment.criteria
    assignment.criteria, assignment.criteria_asked = {}, ""
    assignment.active_ms = assignment.first_key_ms = assignment.wall_ms = None
    assignment.input = ""
    assignment.seq = None
    assignment.voted_at = assignment.acted_at = None
    assignment.expires_at = now + _lease_length(assignment)
    assignment.skip_reason = ""
    assignment.save(update_fields=(*STORED, "skip_reason", "revision", "frozen_from"))
