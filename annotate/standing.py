"""What figures say against a person, and what follows from it without anybody asking.

Warnings are cheap and come early, on the share as it stands. A pause takes somebody's work away,
so it needs certainty: the whole 95 % interval below the threshold, after twenty gold pairs.
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from annotate.agreement import wilson
from annotate.annotators import GOLD, Row, Share, shares
from annotate.doubt import DOUBTFUL, beta_binomial
from annotate.models import Assignment, Membership, Message

WARN_AFTER = 5
PAUSE_AFTER = 20
ONE_SIDED = 0.005
"""An honest person's votes lean this far to one side so often."""
SIDED_AFTER = 20
CONSISTENT = 0.6
WARNING = (
    "Some of your recent answers are not what the guidelines ask for. Please read the guidelines "
    "again, and take the time that a pair needs."
)
PAUSED = "Too many of your answers are not what the guidelines ask for. A reviewer will look at it."


def flags(row: Row) -> list[str]:
    """What stands out about a person, in words; nothing for about 19 of 20 honest ones."""
    found = {
        "agrees too little": row.doubt is not None and row.doubt < DOUBTFUL,
        "one side": row.left.n >= SIDED_AFTER and _leaning(row.left) < ONE_SIDED,
        "gold pairs wrong": row.member is not None
        and _certainly_below(row.gold, row.member.project.check_threshold, after=WARN_AFTER),
        "inconsistent": _certainly_below(row.retest, CONSISTENT, after=WARN_AFTER),
        "too fast": row.too_fast.n >= SIDED_AFTER
        and (row.too_fast.interval or (0.0, 1.0))[0] > 0.5,
    }
    return [flag for flag, stands in found.items() if stands]


def _leaning(left: Share) -> float:
    """How probable a share of left picks so far from one half is, to either side."""
    scale = min(1.0, 400 / left.n)
    n, hits = round(left.n * scale), round(left.hits * scale)
    law = beta_binomial(n, 0.5)
    return float(min(1.0, 2 * law[: min(hits, n - hits) + 1].sum()))


def _certainly_below(share: Share, threshold: float, *, after: int) -> bool:
    interval = wilson(share.hits, share.n)
    return interval is not None and share.n >= after and interval[1] < threshold


def review(member: Membership) -> None:
    """After a vote on a gold pair: warn the member, or pause them, where the rules say so.

    Each happens at most once: when an admin lets a paused person go on, a person has decided.
    """
    if member.simulated or member.paused_at is not None:
        return
    project = member.project
    gold = shares(GOLD, project, only=member.user_id).get(member.user_id, Share())
    if project.auto_pause and not project.train_on_simulated and _pausable(member, gold):
        with transaction.atomic():
            _once(member, PAUSED, paused_at=timezone.now(), paused_because=PAUSED)
    elif (
        member.warned_at is None
        and gold.n >= WARN_AFTER
        and gold.hits < gold.n * project.check_threshold
    ):
        with transaction.atomic():
            _once(member, WARNING, warned_at=timezone.now())


def review_vote(vote: Assignment) -> None:
    """Review the member who cast this vote on a gold pair."""
    place = Membership.objects.filter(project=vote.pair.project_id, user=vote.annotator_id)
    if member := place.select_related("project").first():
        review(member)


def _pausable(member: Membership, gold: Share) -> bool:
    certain = _certainly_below(gold, member.project.check_threshold, after=PAUSE_AFTER)
    return certain and not member.messages.filter(author=None, text=PAUSED).exists()


def _once(member: Membership, text: str, **columns: object) -> None:
    Membership.objects.filter(pk=member.pk).update(**columns)
    Message.objects.create(member=member, text=text)
