"""Leasing: the best pair this person has not had, reserved for a while."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from annotate.models import Assignment, Membership, Pair, Project
from annotate.models.roles import Role
from annotate.queue import lease_length, retest, slots, sql
from annotate.queue.transactions import write

# Expired leases are looked for at most once a second per project, and when nothing is open.
RELEASE_EVERY = timedelta(seconds=1)
_released_at: dict[int, datetime] = {}
_chance = random.SystemRandom()
# Against which an arm's probability was drawn. A check has its own, whatever the arms hold.
OTHER = {"random": "active", "active": "random", "check": "check"}


def next_pair(
    project: Project,
    user: User,
    *,
    after: UUID | None = None,
    now: datetime | None = None,
    rng: random.Random = _chance,
) -> Assignment | None:
    """Lease a pair to the user and return the assignment with its texts loaded.

    A lease the user already has is returned again with its expiry renewed. With `after`, the
    token of a lease, one more is returned, so that a page can prefetch; nobody has more than
    two. None when there is nothing for this user just now, or when something holds this user up.
    """
    now = now or timezone.now()
    if project.archived:
        return None
    with write():
        member = _lock_membership(project, user)
        if member is None or barred(project, member):
            return None
        found = sql.renew(
            project=project.pk,
            user=user.pk,
            after=after,
            expires=now + lease_length.lasts(project, member.pace_ms),
            version=project.guideline_version,
        )
        if found is None:
            found = _claim(project, user, member=member, now=now, rng=rng)
    return Assignment.objects.for_display().get(pk=found) if found else None


def held_up(project: Project, user: User) -> str:
    """What keeps new pairs from this person: "paused", "guidelines" (to be read and confirmed),
    "qualification" (to be passed), or "" for nothing.

    Pairs they hold already can still be voted on, so that no vote is lost. An archived project
    holds nobody up: it has nothing to offer.
    """
    if project.archived:
        return ""
    member = sql.member(project=project.pk, user=user.pk)
    return barred(project, member) if member else ""


def barred(project: Project, member: sql.Member) -> str:
    """Like `held_up`, for a membership that was read already."""
    if member.paused_at is not None:
        return "paused"
    if member.simulated:
        return ""
    unread = member.guidelines_read < project.guideline_version
    if project.read_guidelines and project.guidelines and unread:
        return "guidelines"
    if project.qualification and member.qualified_at is None:
        return "qualification"
    return ""


def shown(assignment: Assignment) -> dict[str, Any]:
    """What the screen shows: the prompt's messages and the two texts by side."""
    pair = assignment.pair
    left, right = pair.completion_a.text, pair.completion_b.text
    if assignment.left == "b":
        left, right = right, left
    return {"prompt": pair.prompt.messages, "left": left, "right": right}


def release_expired(project: Project | None = None, *, now: datetime | None = None) -> int:
    """Give the places of expired leases back; return how many leases ended.

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
        slots.give_back(lease.pair_id, left=lease.left)


def _lock_membership(project: Project, user: User) -> sql.Member | None:
    """One lease at a time per person: two tabs that ask at once must not get three pairs."""
    found = sql.member(project=project.pk, user=user.pk, lock=True)
    if found is None and user.is_superuser:
        Membership.objects.update_or_create(
            project=project, user=user, defaults={"role": Role.ADMIN, "active": True}
        )
        found = sql.member(project=project.pk, user=user.pk, lock=True)
    return found


def _claim(
    project: Project,
    user: User,
    *,
    member: sql.Member,
    now: datetime,
    rng: random.Random,
) -> int | None:
    _release_sometimes(project, now)
    arms = _draw_arms(project, rng)
    side = _draw_side(member.left_balance, rng)
    expires = now + lease_length.lasts(project, member.pace_ms)
    if project.retest_share and rng.random() < project.retest_share:
        found = retest.lease(project, user, now=now, expires=expires, rng=rng)
        if found is not None:
            return found
    for attempt in range(2):
        for arm, propensity in arms:
            claim = {
                "project": project.pk,
                "user": user.pk,
                "membership": member.id,
                "stream": arm,
                "other": OTHER[arm],
                "propensity": propensity,
                "side": side,
                "token": uuid4(),
                "now": now,
                "expires": expires,
                "guideline_version": project.guideline_version,
            }
            found = sql.claim(claim)
            if found is not None:
                return found
        if attempt == 0 and not release_expired(project, now=now):
            return None
    return None


def _draw_arms(project: Project, rng: random.Random) -> list[tuple[str, float]]:
    """The drawn arm with the probability it had, then what to fall back on.

    A check is drawn first. The probabilities of the arms are those among the pairs that are
    no checks: checks tell nothing about the arms.
    """
    share, checks = project.random_share, project.gold_share
    check = [("check", checks)] if rng.random() < checks else []
    if rng.random() < share:
        return [*check, ("random", share), ("active", 1.0)]
    return [*check, ("active", 1.0 - share), ("random", 1.0)]


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
