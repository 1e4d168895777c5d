"""The queue: every path that leases, votes, skips or takes back, for people and simulated ones.

May import: models, text, statistics, votes, people.
"""

from __future__ import annotations

from annotate.queue.lease import blocked_by, next_pair, release_expired, shown
from annotate.queue.recount import Applied, apply_quota
from annotate.queue.revision import remark, revise, rewrite
from annotate.queue.second_votes import ask_again, asked_again, may_be_asked_again, withdraw
from annotate.queue.skip_and_undo import renew, skip, undo, undo_token
from annotate.queue.skip_reasons_and_flags import flag, skip_reason
from annotate.queue.transactions import Pace, bulk_write, write
from annotate.queue.vote import VoteResult, vote, vote_side
from annotate.queue.vote_errors import (
    ChoiceConflict,
    Gone,
    OffScale,
    UnknownAssignment,
    UnknownCriterion,
)

__all__ = [
    "Applied",
    "ChoiceConflict",
    "Gone",
    "OffScale",
    "Pace",
    "UnknownAssignment",
    "UnknownCriterion",
    "VoteResult",
    "apply_quota",
    "ask_again",
    "asked_again",
    "blocked_by",
    "bulk_write",
    "flag",
    "may_be_asked_again",
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
    "withdraw",
    "write",
]
