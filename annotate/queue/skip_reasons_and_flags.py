"""Objections to a pair, by a skip's reason or a flag: two people's take it out of the queue."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import Assignment, Label, Pair
from annotate.queue import resolution, slots
from annotate.queue.transactions import write
from annotate.queue.vote import locked
from annotate.queue.vote_errors import Gone
from annotate.votes import labels, objections_to_pairs
from annotate.votes.scales import FLAGS

State = Assignment.State


def skip_reason(user: User, token: UUID, reason: str) -> Assignment:
    """Say why a pair was skipped, or say it otherwise. Repeating it changes nothing.

    Raises UnknownAssignment, or Gone when the person did not skip the pair.
    """
    with write():
        assignment = locked(user, token)
        if assignment.state != State.SKIPPED:
            raise Gone("This skip was taken back.")
        if assignment.skip_reason != reason:
            withdraw(assignment)
            assignment.skip_reason = reason
            assignment.save(update_fields=["skip_reason"])
            object_to(assignment)
        return assignment


def flag(user: User, token: UUID, kind: str) -> bool:
    """Warn of the pair, whatever became of the assignment; False when the person did before.

    Raises UnknownAssignment; ValueError for a kind that is none of FLAGS.
    """
    if kind not in FLAGS:
        raise ValueError(f"kind must be one of {', '.join(FLAGS)}")
    with write():
        assignment = locked(user, token)
        new = objections_to_pairs.file_warning(assignment, kind)
        if new and objections_to_pairs.enough_objections(assignment.pair_id):
            retire(assignment.pair_id)
        return new


def object_to(skipped: Assignment) -> None:
    """Do what follows from the reason of a skip, the pair's row locked."""
    if skipped.skip_reason and objections_to_pairs.file_objection(skipped):
        retire(skipped.pair_id)


def withdraw(skipped: Assignment) -> None:
    """Undo what followed from the reason of a skip, the pair's row locked."""
    if not skipped.skip_reason:
        return
    before = objections_to_pairs.enough_objections(skipped.pair_id)
    objections_to_pairs.withdraw_warning(skipped)
    Assignment.objects.filter(pk=skipped.pk).update(skip_reason="")
    if before and not objections_to_pairs.enough_objections(skipped.pair_id):
        _reopen(skipped.pair_id)


def retire(pair_id: int) -> None:
    """Nobody gets the pair any more; a resolved one stays what it is. The pair's row is locked."""
    undecided = "state IN ('open', 'adjudicate')"
    columns = "state = 'retired', asked = asked - open_slots, open_slots = 0"
    if slots.update(pair_id, columns, where=undecided):
        Pair.objects.filter(pk=pair_id).update(resolved_at=timezone.now())
        labels.refresh(Pair(pk=pair_id))


def _reopen(pair_id: int) -> None:
    after = slots.update(pair_id, "state = 'open', resolved_at = NULL", where="state = 'retired'")
    if after:
        Label.objects.filter(pair=pair_id).delete()
        resolution.resolve(after, voted=True)
