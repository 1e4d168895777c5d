"""The votes that teach the judge, apart from those that teach the reward model.

A judge that learnt from the same votes shares their faults: it likes what was maximised. Votes on
other prompts keep it from sharing the model's accidents, those of other people from sharing the
voters' tastes too. A taste that everybody has no judge can see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from training.rlhf import rows
from training.rlhf.data import soft_labels
from training.rlhf.rows import Preference

SALT = "judge "
"""Makes the judge's prompts independent of the held-out split by the same hash."""
MIN_PAIRS = 40
"""Decided pairs that the judge needs on prompts of its own."""
PEOPLE, MIN_PEOPLE, MIN_VOTES = 3, 8, 150
"""The judge's people, of how many at least, and their votes on its prompts."""


@dataclass(frozen=True)
class Parted:
    """The rows of both models; held-out ones stand in either."""

    model: list[Preference]
    judge: list[Preference]
    prompts_apart: bool
    people_apart: bool

    @property
    def independent(self) -> bool:
        """True where no vote, no prompt and no person taught both."""
        return self.prompts_apart and self.people_apart


def part(pairs: Sequence[Preference], *, share: float) -> Parted:
    """Give the judge prompts, and where there are enough of them people, of its own.

    Args:
        share: of the training prompts, for the judge.
    """
    own = [row for row in pairs if _teaches(row) and _of_judge(row, share)]
    if sum(soft_labels.verdict(row) is not None for row in own) < MIN_PAIRS:
        return Parted(list(pairs), list(map(by_people, pairs)), False, False)
    other = [row for row in pairs if _teaches(row) and not _of_judge(row, share)]
    measured = [row for row in pairs if not _teaches(row)]
    # Of models alone; on the judge's prompts they would have both models learn from one prompt.
    apart = [by_people(row) if _of_judge(row, share) else row for row in measured]
    judges = judges_people(pairs)
    votes = sum(vote.annotator in judges for row in own for vote in row.votes)
    people_apart = bool(judges) and votes >= MIN_VOTES
    if people_apart:
        own = [_by(row, judges, inside=True) for row in own]
        other = [_by(row, judges, inside=False) for row in other]
    judge = [by_people(row) for row in own + measured]
    return Parted(other + apart, judge, True, people_apart)


def by_people(row: Preference) -> Preference:
    """The row without votes of models."""
    return replace(row, ai_votes=()) if row.ai_votes else row


def judges_people(pairs: Sequence[Preference]) -> frozenset[str]:
    """The people whose votes are the judge's, the same in every round; none of fewer than eight."""
    people = {vote.annotator for row in pairs if _teaches(row) for vote in row.votes}
    if len(people) < MIN_PEOPLE:
        return frozenset()
    drawn = sorted(people, key=lambda one: hashlib.sha256(f"{SALT}{one}".encode()).digest())
    return frozenset(drawn[:PEOPLE])


def _teaches(row: Preference) -> bool:
    return bool(row.votes) and not row.held_out and row.kind != "evaluation"


def _of_judge(row: Preference, share: float) -> bool:
    return rows.is_held_out(SALT + row.prompt_id, share)


def _by(row: Preference, people: frozenset[str], *, inside: bool) -> Preference:
    """The row with the votes of these people alone, or of all others; a reviewer's decision and
    what was aggregated rest on votes of both."""
    kept = tuple(vote for vote in row.votes if (vote.annotator in people) == inside)
    return replace(row, votes=kept, soft=None, decided="")
