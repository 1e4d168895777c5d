"""Retests: a pair the person voted on a while ago, once more with the sides swapped.

A retest is a row of its own for one person. It is born with its only slot taken, so the queue
never offers it to anybody, and it never counts among the open pairs.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, F, OuterRef, QuerySet

from annotate.models import Assignment, Membership, Pair, Project
from annotate.queue import lease_sql

MEMORY = 20
"""Votes and skips after which the person may have forgotten a pair."""
COPIED = ("project_id", "prompt_id", "completion_a_id", "completion_b_id", "policy_a", "policy_b")


def eligible(project: Project, user: User) -> QuerySet[Assignment]:
    """The person's votes, at least MEMORY votes and skips old, that were never asked again."""
    own = Assignment.objects.in_project(project).filter(annotator=user)
    done = own.filter(state__in=(Assignment.State.VOTED, Assignment.State.SKIPPED))
    times = done.order_by("-acted_at").values_list("acted_at", flat=True)
    before = times[MEMORY : MEMORY + 1].first()
    if before is None:
        return own.none()
    asked = Pair.objects.filter(retest_of=OuterRef("pair"), only_for=user)
    votes = own.standing().filter(acted_at__lte=before).exclude(left="")
    votes = votes.exclude(pair__kind__in=Pair.OUTSIDE_LABELS)
    return votes.filter(~Exists(asked)).select_related("pair").order_by("pk")


def lease(
    project: Project,
    user: User,
    member: lease_sql.Member,
    *,
    now: datetime,
    expires: datetime,
    rng: random.Random,
) -> int | None:
    """Make a retest and lease it to the person; None when there is nothing to ask again.

    Like every check, it comes only while there is an ordinary pair to hide it among.
    """
    if not lease_sql.something_open(project=project.pk, user=user.pk, evaluation=member.evaluation):
        return None
    votes = eligible(project, user)
    n = votes.count()
    if not n:
        return None
    vote = votes[rng.randrange(n)]
    left = "b" if vote.left == "a" else "a"
    sign = 1 if left == "a" else -1
    assignment = Assignment.objects.create(
        pair=_retest_pair(vote, user, left_balance=sign),
        annotator=user,
        left=left,
        stream=Pair.Stream.CHECK,
        propensity=project.retest_share,
        leased_at=now,
        expires_at=expires,
        guideline_version=project.guideline_version,
    )
    Membership.objects.filter(project=project, user=user).update(
        left_balance=F("left_balance") + sign
    )
    return assignment.pk


def _retest_pair(vote: Assignment, user: User, *, left_balance: int) -> Pair:
    columns: dict[str, Any] = {name: getattr(vote.pair, name) for name in COPIED}
    columns |= Pair.quota(vote.pair.project, Pair.Kind.RETEST, key=f"retest:{vote.pk}")
    columns |= {"open_slots": 0, "asked": 1, "state": Pair.State.RETIRED}
    return Pair.objects.create(
        **columns,
        key=f"retest:{vote.pk}",
        stream=Pair.Stream.CHECK,
        source="retest",
        retest_of=vote.pair,
        only_for=user,
        left_balance=left_balance,
    )
