"""Better answers that annotators write, beside their votes."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import User

from annotate.models import Assignment, Rewrite
from annotate.queue.transactions import write
from annotate.queue.vote import completion, locked
from annotate.queue.vote_errors import Gone


def rewrite(user: User, token: UUID, *, side: str, text: str) -> Rewrite:
    """Keep a better answer, made from the left or right one; it replaces an earlier one.

    Raises UnknownAssignment, or Gone when there is no vote or the project wants none.
    """
    if side not in ("left", "right"):
        raise ValueError("side must be left or right")
    with write():
        assignment = locked(user, token)
        if assignment.state != Assignment.State.VOTED:
            raise Gone("You have no vote on this pair. It was skipped or taken back.")
        if not assignment.pair.project.allow_rewrites:
            raise Gone("This project does not ask for better answers.")
        answer = {"based_on": completion(side, assignment.left), "text": text}
        stored, _ = Rewrite.objects.update_or_create(assignment=assignment, defaults=answer)
        return stored
