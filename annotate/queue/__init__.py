"""The queue: who looks at which pair, and what their votes do to it.

Every path that leases, votes, skips or takes back goes through here, for people and for
simulated annotators alike.
"""

from __future__ import annotations

from annotate.queue.acts import skip, undo, undo_token
from annotate.queue.ballot import Cast, vote, vote_side
from annotate.queue.errors import ChoiceConflict, Gone, UnknownAssignment
from annotate.queue.lease import next_pair, release_expired, shown
from annotate.queue.transaction import write

__all__ = [
    "Cast",
    "ChoiceConflict",
    "Gone",
    "UnknownAssignment",
    "next_pair",
    "release_expired",
    "shown",
    "skip",
    "undo",
    "undo_token",
    "vote",
    "vote_side",
    "write",
]
