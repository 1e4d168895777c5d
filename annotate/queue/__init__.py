"""The queue: who looks at which pair, and what their votes do to it.

Every path that leases, votes, skips or takes back goes through here, for people and for
simulated annotators alike.
"""

from __future__ import annotations

from annotate.queue.acts import renew, skip, undo, undo_token
from annotate.queue.ballot import Cast, vote, vote_side
from annotate.queue.errors import (
    ChoiceConflict,
    Gone,
    OffScale,
    UnknownAssignment,
    UnknownCriterion,
)
from annotate.queue.lease import held_up, next_pair, release_expired, shown
from annotate.queue.objections import flag, skip_reason
from annotate.queue.revising import remark, revise
from annotate.queue.rewriting import rewrite
from annotate.queue.transaction import write

__all__ = [
    "Cast",
    "ChoiceConflict",
    "Gone",
    "OffScale",
    "UnknownAssignment",
    "UnknownCriterion",
    "flag",
    "held_up",
    "next_pair",
    "release_expired",
    "remark",
    "renew",
    "revise",
    "rewrite",
    "shown",
    "skip",
    "skip_reason",
    "undo",
    "undo_token",
    "vote",
    "vote_side",
    "write",
]
