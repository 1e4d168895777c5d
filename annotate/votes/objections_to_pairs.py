"""Objections to a pair: warnings are kept, and two people's take it out of the queue."""

from __future__ import annotations

from annotate.models import Assignment, Flag, Pair
from annotate.votes.scales import ENOUGH, RETIRING_FLAG, RETIRING_SKIPS, SKIPS

_FLAG_OF = {reason.name: reason.flag for reason in SKIPS if reason.flag}


def file_objection(assignment: Assignment) -> bool:
    """File what the skip's reason says about the pair; whether the pair has to go.

    The pair's row is locked by the caller, here and below.
    """
    kind = _FLAG_OF.get(assignment.skip_reason)
    if kind:
        file_warning(assignment, kind)
    return enough_objections(assignment.pair_id)


def withdraw_warning(assignment: Assignment) -> None:
    """Take the skip's warning back with the skip, unless a reviewer has dealt with it."""
    kind = _FLAG_OF.get(assignment.skip_reason)
    if kind:
        Flag.objects.filter(
            pair=assignment.pair_id,
            annotator=assignment.annotator_id,
            kind=kind,
            settled_at=None,
        ).delete()


def file_warning(assignment: Assignment, kind: str) -> bool:
    """Keep the person's warning about the pair; False when they gave it before."""
    _, new = Flag.objects.get_or_create(
        pair_id=assignment.pair_id, annotator_id=assignment.annotator_id, kind=kind
    )
    return new


def enough_objections(pair_id: int) -> bool:
    """True when enough people say that nothing can be learned here, or that it is unsafe.

    Gold and retest pairs measure the people themselves: reviewers withdraw those.
    """
    if Pair.objects.filter(pk=pair_id, kind__in=Pair.OUTSIDE_LABELS).exists():
        return False
    skips = Assignment.objects.filter(
        pair=pair_id, state=Assignment.State.SKIPPED, skip_reason__in=RETIRING_SKIPS
    )
    unsafe = Flag.objects.filter(pair=pair_id, kind=RETIRING_FLAG)
    return skips.count() >= ENOUGH or unsafe.count() >= ENOUGH
