"""Leasing: the best pair this person has not had, reserved for a while."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import product
from statistics import median
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from annotate.models import Assignment, Membership, Pair, Project
from annotate.models.content import HELD_OUT_SHARE
from annotate.models.roles import Role
from annotate.queue import lease_sql, resolution, retest
from annotate.queue.transactions import write
from annotate.statements import prepared
from annotate.text.chat_turns import blind

# Expired leases are looked for at most once a second per project, and when nothing is open.
RELEASE_EVERY = timedelta(seconds=1)
_released_at: dict[int, datetime] = {}
_chance = random.SystemRandom()
MEASURING_SHARE = 0.5
"""Of the random arm, once pairs are ranked: pairs that it alone leases, because they measure."""

# A lease lasts three times what a vote takes the person, within these bounds.
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(minutes=30)
EVERY_NTH = 10
"""The pace is measured with about every tenth vote: it changes slowly."""
RECENT, FEWEST = 50, 5
"""Votes that the running median is taken of, at most and at least."""


def next_pair(
    project: Project,
    user: User,
    *,
    after: UUID | None = None,
    voted: bool = False,
    now: datetime | None = None,
    rng: random.Random = _chance,
) -> Assignment | None:
    """Lease a pair to the user and return the assignment with its texts loaded.

    A lease the user already has is returned again with its expiry renewed. With `after`, the
    token of a lease, one more is returned, so that a page can prefetch; nobody has more than
    two. None when there is nothing for this user just now, or when something holds this user up.
    `voted` says that this user voted in the project in the transaction around this call, which
    holds their membership since.
    """
    now = now or timezone.now()
    if project.archived:
        return None
    with write():
        if voted:
            member = lease_sql.member(project=project.pk, user=user.pk, after=after)
        else:
            member = _lock_membership(project, user)
        if member is None or _blocked_by(project, member):
            return None
        # Where the lock came first, no lease can have come since the statement looked for one.
        if not voted or member.lease is not None:
            renewed = lease_sql.renew(
                project=project.pk,
                user=user.pk,
                after=after,
                expires=now + lease_length(project, member.pace_ms),
                version=project.guideline_version,
            )
            if renewed is not None:
                return lease_sql.display(renewed)
        return _claim(project, user, member=member, now=now, rng=rng)


def blocked_by(project: Project, user: User) -> str:
    """The reason this person gets no new pairs: "paused", "guidelines" (to be read and confirmed),
    "qualification" (to be passed), or "" for none.

    Pairs they hold already can still be voted on, so that no vote is lost. An archived project
    holds nobody up: it has nothing to offer.
    """
    if project.archived:
        return ""
    member = lease_sql.member(project=project.pk, user=user.pk)
    return _blocked_by(project, member) if member else ""


def _blocked_by(project: Project, member: lease_sql.Member) -> str:
    """Like `blocked_by`, for a membership that was read already."""
    if member.paused_at is not None:
        return "paused"
    if member.simulated:
        return ""
    unread = member.guidelines_read < project.guideline_version
    # The guidelines last: where a vote brought the project, their text is not read with it.
    if unread and project.read_guidelines and project.guidelines:
        return "guidelines"
    if project.qualification and member.qualified_at is None:
        return "qualification"
    return ""


def shown(assignment: Assignment) -> dict[str, Any]:
    """The prompt's messages and tools, and the replies by side, as the screen shows them.

    `left_messages` and `right_messages` are the turns of a reply that is more than one text, else
    None; `left_cut` and `right_cut` tell a reply that ended at the limit of its length. Metadata,
    scores and names of models are not in it: a vote is blind.
    """
    pair = assignment.pair
    left, right = pair.completion_a, pair.completion_b
    if assignment.left == "b":
        left, right = right, left
    return {
        "prompt": blind(pair.prompt.messages),
        "tools": pair.prompt.tools or [],
        "left": left.text,
        "right": right.text,
        "left_messages": left.messages and blind(left.messages),
        "right_messages": right.messages and blind(right.messages),
        "left_cut": left.cut,
        "right_cut": right.cut,
    }


def release_expired(project: Project | None = None, *, now: datetime | None = None) -> int:
    """Give the slots of expired leases back; return how many leases ended.

    Pairs that somebody is busy with are left for the next time, so this never waits.
    """
    now = now or timezone.now()
    expired = Assignment.objects.leased().filter(expires_at__lt=now)
    if project is not None:
        expired = expired.in_project(project)
    if not expired.exists():
        return 0
    with write():
        pairs = Pair.objects.filter(pk__in=expired.values("pair_id")).order_by("pk")
        if connection.features.has_select_for_update_skip_locked:
            pairs = pairs.select_for_update(skip_locked=True, no_key=True)
        held = list(pairs.values_list("pk", flat=True))
        # Locked as well, because a lease may be renewed since it was found to have expired.
        leases = expired.filter(pair__in=held).order_by("pair_id", "pk")
        if connection.features.has_select_for_update_skip_locked:
            leases = leases.select_for_update(skip_locked=True, no_key=True, of=("self",))
        for lease in (ended := list(leases)):
            release(lease)
    return len(ended)


def release(lease: Assignment) -> None:
    """End a lease whose pair is locked by this transaction."""
    Assignment.objects.filter(pk=lease.pk).update(
        state=Assignment.State.RELEASED, surplus=False, expires_at=None
    )
    if not lease.surplus:
        resolution.give_back(lease.pair_id, left=lease.left)


def _lock_membership(project: Project, user: User) -> lease_sql.Member | None:
    """One lease at a time per person: two tabs that ask at once must not get three pairs."""
    member = lease_sql.member(project=project.pk, user=user.pk, lock=True)
    if member is None and user.is_superuser:
        Membership.objects.update_or_create(
            project=project, user=user, defaults={"role": Role.ADMIN, "active": True}
        )
        member = lease_sql.member(project=project.pk, user=user.pk, lock=True)
    return member


def _claim(
    project: Project,
    user: User,
    *,
    member: lease_sql.Member,
    now: datetime,
    rng: random.Random,
) -> Assignment | None:
    _release_sometimes(project, now)
    if member.batches_only and not lease_sql.something_open(
        project=project.pk, user=user.pk, evaluation=member.evaluation, membership=member.id
    ):
        return None
    orders = _draw_orders(project, member, rng)
    side = _draw_side(member.left_balance, rng)
    expires = now + lease_length(project, member.pace_ms)
    if project.retest_share and rng.random() < project.retest_share:
        again = retest.lease(project, user, member, now=now, expires=expires, rng=rng)
        if again is not None:
            return lease_sql.display(again)
    for attempt in range(2):
        for batches, (order, propensity) in product(_reach(member), orders):
            claim = {
                "project": project.pk,
                "user": user.pk,
                "membership": member.id,
                "propensity": propensity,
                "acquisition": project.ranked_by if order == "active" else "",
                "side": side,
                "token": uuid4(),
                "now": now,
                "expires": expires,
                "guideline_version": project.guideline_version,
                "compared": lease_sql.compared(member.evaluation),
            }
            assignment = lease_sql.claim(order, claim, batches=batches)
            if assignment is not None:
                return assignment
        if attempt == 0 and not release_expired(project, now=now):
            return None
    return None


def _reach(member: lease_sql.Member) -> tuple[bool, ...]:
    """True for the person's batches, False for all pairs, in the order in which they are tried."""
    if member.batches_only:
        return (True,)
    return (True, False) if member.has_batches else (False,)


def _draw_orders(
    project: Project, member: lease_sql.Member, rng: random.Random
) -> list[tuple[str, float]]:
    """Names of `lease_sql.ORDERS` to try one after the other, each with the probability that its
    arm was drawn with: the drawn arm, then what to fall back on.

    Checks and comparisons of policies are drawn first. The probabilities of the two arms are those
    among all other pairs. Until votes have ranked pairs the random arm has them all.
    """
    first = []
    if rng.random() < project.gold_share:
        first.append(("check", project.gold_share))
    if member.evaluation and rng.random() < project.evaluation_share:
        first.append(("evaluation", project.evaluation_share))
    share = project.random_share if member.ranked else 1.0
    drawn = rng.random() < share
    chance = share if drawn else 1.0
    at_random = [("measuring", chance), ("random", chance)]
    if rng.random() >= _measuring_share(project, ranked=member.ranked):
        at_random.reverse()
    active = [("active", 1.0 if drawn else 1.0 - share)] if member.ranked else []
    last = [("unranked", 1.0), *([("evaluation", 1.0)] if member.evaluation else [])]
    arms = [*at_random, *active] if drawn else [*active, *at_random]
    return [*first, *arms, *last]


def _measuring_share(project: Project, *, ranked: bool) -> float:
    """Share of the random arm that goes to pairs which measure: what a uniform draw would give
    them while it has all votes, more once it has few."""
    if ranked:
        return MEASURING_SHARE
    thin = project.votes in Project.ONE_VOTE or project.stop_when_certain is not None
    return 1 - (1 - HELD_OUT_SHARE) * (1 - (project.overlap_share if thin else 0.0))


def _draw_side(left_balance: int, rng: random.Random) -> str:
    """The side for this person where the pair itself does not ask for one."""
    if left_balance:
        return "b" if left_balance > 0 else "a"
    return "a" if rng.random() < 0.5 else "b"


def _release_sometimes(project: Project, now: datetime) -> None:
    last = _released_at.get(project.pk)
    if last is None or abs(now - last) >= RELEASE_EVERY:
        _released_at[project.pk] = now
        release_expired(project, now=now)


def lease_length(project: Project, pace_ms: int | None) -> timedelta:
    """Three times what a vote takes this person; the project's own setting until that is known."""
    if pace_ms is None:
        return timedelta(seconds=project.lease_seconds)
    return min(max(timedelta(milliseconds=3 * pace_ms), SHORTEST), LONGEST)


RECENT_TIMES = f"""
    SELECT a.active_ms FROM annotate_assignment a JOIN annotate_pair p ON p.id = a.pair_id
    WHERE a.annotator_id = %(user)s AND p.project_id = %(project)s AND a.state = 'voted'
        AND NOT a.surplus AND a.active_ms IS NOT NULL
    ORDER BY a.acted_at DESC LIMIT {RECENT}
"""
PACE = """
    UPDATE annotate_membership SET pace_ms = %(pace)s
    WHERE project_id = %(project)s AND user_id = %(user)s
"""


def update_pace(vote: Assignment) -> None:
    """Update the person's time per vote, the running median of their recent ones."""
    if vote.active_ms is None or vote.pk % EVERY_NTH:
        return
    whose = {"project": vote.pair.project_id, "user": vote.annotator_id}
    recent = [ms for (ms,) in prepared.rows(RECENT_TIMES, whose)]
    if len(recent) >= FEWEST:
        prepared.execute(PACE, whose | {"pace": round(median(recent))})
