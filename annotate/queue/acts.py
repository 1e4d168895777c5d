"""Skipping, and taking the last vote or skip back."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Max
from django.utils import timezone

from annotate.datasets import JUDGEMENT
from annotate.models import Assignment, DatasetVersion, Project, VoteRevision
from annotate.queue import places
from annotate.queue.ballot import STORED, locked
from annotate.queue.errors import Gone, UnknownAssignment
from annotate.queue.lease import release
from annotate.queue.transaction import write

State = Assignment.State
# What a dataset version says of a vote and a later lease or vote would overwrite.
FROZEN = (*JUDGEMENT, "stream", "propensity", "leased_at", "frozen_from")


def skip(user: User, token: UUID, *, reason: str = "", now: datetime | None = None) -> Assignment:
    """Give the pair up for good; it is never offered to this person again.

    Raises UnknownAssignment, or Gone when the person voted on it.
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
            places.give_back(assignment.pair_id, left=assignment.left)
        return assignment


def undo(user: User, project: Project, *, now: datetime | None = None) -> Assignment | None:
    """Take the person's last vote or skip in the project back; None when there is none.

    The pair is theirs again: the assignment returned is reserved.
    """
    last = Assignment.objects.of_member(user).in_project(project).last_act()
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
    if assignment != own.in_project(assignment.pair.project).last_act():
        raise Gone("Only your last vote or skip can be taken back.")
    return _take_back(user, assignment, now=now or timezone.now())


def _take_back(user: User, last: Assignment, *, now: datetime) -> Assignment:
    with write():
        spare = _spare_leases(user, last)
        places.lock([last.pair_id, *(lease.pair_id for lease in spare)])
        assignment = locked(user, last.token)
        if assignment.state not in (State.VOTED, State.SKIPPED):
            # Another request of the same person took it back at this moment.
            return assignment
        for lease in _spare_leases(user, last):
            if lease in spare:
                release(lease)
        _keep_revision(assignment)
        if assignment.state == State.VOTED and not assignment.surplus:
            _uncount(assignment, now=now)
        else:
            taken = places.take(assignment.pair_id, left=assignment.left)
            assignment.surplus = taken is None
        _reserve_again(assignment, now=now)
        return assignment


def _spare_leases(user: User, last: Assignment) -> list[Assignment]:
    """Leases beyond the one that may stand beside the pair that comes back."""
    own = Assignment.objects.leased().filter(annotator=user, pair__project=last.pair.project_id)
    return list(own.exclude(pk=last.pk).order_by("leased_at", "pk")[1:])


def _uncount(assignment: Assignment, *, now: datetime) -> None:
    count = places.COUNT_OF[assignment.choice]
    after = places.change(assignment.pair_id, f"{count} = {count} - 1")
    assert after, "pairs with assignments are never deleted on their own"
    # First, because the label is computed from the votes that still stand.
    Assignment.objects.filter(pk=assignment.pk).update(state=State.RESERVED, expires_at=now)
    places.settle(after, voted=True, now=now)


def _keep_revision(assignment: Assignment) -> None:
    """Keep a vote as the dataset versions hold it, if one does; the next is a new revision."""
    if assignment.frozen_from is None:
        return
    # The lock that freezing takes: a version is either counted here or does not hold this vote.
    project = Project.objects.select_for_update().get(pk=assignment.pair.project_id)
    newest = DatasetVersion.objects.filter(project=project).aggregate(n=Max("number"))["n"]
    VoteRevision.objects.create(
        assignment=assignment,
        frozen_until=newest,
        **{name: getattr(assignment, name) for name in FROZEN},
    )
    assignment.revision += 1
    assignment.frozen_from = None


def _reserve_again(assignment: Assignment, *, now: datetime) -> None:
    assignment.state = State.RESERVED
    assignment.choice = ""
    assignment.strength = 0
    assignment.reasons = []
    assignment.comment = ""
    assignment.active_ms = None
    assignment.seq = None
    assignment.voted_at = assignment.acted_at = None
    lease = timedelta(seconds=assignment.pair.project.lease_seconds)
    assignment.expires_at = now + lease
    assignment.skip_reason = ""
    assignment.save(update_fields=(*STORED, "skip_reason", "revision", "frozen_from"))
