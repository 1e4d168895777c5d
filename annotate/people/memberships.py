"""Rules about who is in a project and how they get in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from annotate.models import Assignment, Membership, Message, Project
from annotate.models.roles import Role
from annotate.people import cached_annotator_figures
from annotate.votes import labels


def members(project: Project) -> list[Membership]:
    """A project's members, people before simulated colleagues, each with `votes` and `last_vote`.

    In large projects with the votes that the minute tick counted.
    """
    order = ("simulated", "-active", "user__username")
    everybody = project.memberships.select_related("user").order_by(*order)
    kept = cached_annotator_figures.votes_by_person(project)
    if kept is None:
        return list(_with_votes(everybody, project))
    members = list(everybody)
    counted = {one.pk: one for one in _with_votes(everybody.filter(simulated=True), project)}
    for one in members:
        told = counted.get(one.pk)
        votes = (told.votes, told.last_vote) if told else kept.get(one.user_id, (0, None))
        one.votes, one.last_vote = votes  # type: ignore[attr-defined]  # As annotated above.
    return members


def _with_votes(members: QuerySet[Membership], project: Project) -> QuerySet[Any]:
    voted = Q(
        user__assignments__state=Assignment.State.VOTED,
        user__assignments__pair__project=project,
    )
    return members.annotate(
        votes=Count("user__assignments", filter=voted),
        last_vote=Max("user__assignments__voted_at", filter=voted),
    )


def membership_of(project: Project, user: User) -> Membership:
    """The user's membership; a superuser, who needs none to come in, is given one."""
    return project.memberships.get_or_create(user=user, defaults={"role": Role.ADMIN})[0]


def may_change(member: Membership, *, by: User) -> None:
    """Raise PermissionDenied unless `by` may change this member's place, or set their password."""
    if member.user == by and not by.is_superuser:
        raise PermissionDenied("Another admin has to change your own place.")
    if member.simulated:
        raise PermissionDenied("Simulated colleagues have no account to manage.")


def change_place(
    member: Membership, *, by: User, role: str | None = None, active: bool | None = None
) -> None:
    """Give a member another role, or end or renew their membership. Raises PermissionDenied."""
    may_change(member, by=by)
    member.role = member.role if role is None else role
    member.active = member.active if active is None else active
    member.save(update_fields=["active", "role"])


def weigh(member: Membership, weight: float) -> None:
    """Give a member's votes another weight in training; 0 takes them out of labels, too."""
    counted = member.weight != 0
    member.weight = weight
    member.save(update_fields=["weight"])
    if counted != (weight != 0):
        labels.refresh_of(member.project, member.user_id)


def may_pause(member: Membership) -> None:
    """Raise PermissionDenied of a simulated colleague."""
    if member.simulated:
        raise PermissionDenied("Simulated colleagues read no messages and take no breaks.")


def pause(member: Membership, because: str) -> None:
    """Offer a member no more pairs, and tell them why."""
    may_pause(member)
    member.paused_at, member.paused_because = timezone.now(), because
    member.save(update_fields=["paused_at", "paused_because"])


def announce(project: Project, text: str, *, by: User, role: str = Role.ANNOTATOR) -> int:
    """Leave everybody of at least this role a message, but for its author; the people it reaches.

    It stands on every page of the project until they mark it as read.
    """
    reached = project.memberships.filter(
        active=True, simulated=False, role__in=Role.at_least(role)
    ).exclude(user=by)
    written = Message.objects.bulk_create(
        Message(member=member, author=by, text=text) for member in reached
    )
    return len(written)
