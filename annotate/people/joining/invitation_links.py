"""Links that let people into a project: made, mailed, and used up place by place."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.contrib.auth.models import User
from django.core import signing
from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from annotate.models import ConfirmedAddress, Invitation, Membership, Project
from annotate.models.roles import Role
from annotate.people.joining import attempt_counter

CONFIRMED_SALT = "annotate.invitation-address"
CONFIRMED_SECONDS = 24 * 3600
MAILS_PER_PLACE = 3
"""A day, to addresses of one link's domain: a stranger with the link cannot flood a domain."""


def invite(
    project: Project,
    invitation: Invitation,
    *,
    by: User,
    lifetime: timedelta = Invitation.LIFETIME,
) -> str:
    """Store the invitation and return the token of its link, which is kept nowhere."""
    token = secrets.token_urlsafe(32)
    invitation.project = project
    invitation.created_by = by
    invitation.token_hash = hashlib.sha256(token.encode()).hexdigest()
    invitation.expires_at = timezone.now() + lifetime
    invitation.save()
    return token


def invite_each(
    project: Project, names: Iterable[str], *, role: str, by: User, lifetime: timedelta
) -> list[tuple[Invitation, str]]:
    """A link for each of these people, with its token."""
    each = [Invitation(role=role, note=name) for name in names]
    return [(one, invite(project, one, by=by, lifetime=lifetime)) for one in each]


def accept(invitation: Invitation, user: User, *, address: str = "") -> bool:
    """Let `user` in, once. False when they stay out; the caller then rolls back.

    Args:
        address: confirmed by mail, for an invitation that asks for it; it lets one person in.

    That is when somebody else took the last place a moment ago, and for who was deactivated: a link
    left over from before must not undo an admin's decision. A member's role is raised, never
    lowered; a member who gains nothing takes no place of a link for several.
    """
    known = Membership.objects.filter(project=invitation.project_id, user=user).first()
    if known and not known.active:
        return False
    if known and invitation.places > 1 and known.role in Role.at_least(invitation.role):
        return True
    if address and not _take_address(invitation, address):
        return False
    if not _take_place(invitation, user):
        return False
    membership, created = Membership.objects.get_or_create(
        project=invitation.project, user=user, defaults={"role": invitation.role}
    )
    if not membership.active:
        return False
    if not created and invitation.role in Role.at_least(membership.role):
        membership.role = invitation.role
        membership.save(update_fields=["role"])
    return True


def _take_address(invitation: Invitation, address: str) -> bool:
    once = ConfirmedAddress(invitation=invitation, address=address.casefold())
    try:
        with transaction.atomic():
            once.save()
    except IntegrityError:
        return False
    return True


def _take_place(invitation: Invitation, user: User) -> bool:
    # One conditional update: of two people at one instant, one gets the last place.
    last = Q(joined__gte=F("places") - 1)
    taken = Invitation.objects.open().filter(pk=invitation.pk, joined__lt=F("places"))
    return bool(
        taken.update(
            joined=F("joined") + 1,
            accepted_by=user,
            accepted_at=Case(When(last, then=Value(timezone.now())), default=None),
        )
    )


def is_of_domain(invitation: Invitation, address: str) -> bool:
    """True for an address at the invitation's domain itself; one below it is another domain."""
    return address.rpartition("@")[2].casefold() == invitation.domain.casefold()


def may_mail(invitation: Invitation) -> bool:
    """Count one more mail that asks to confirm an address. False when there were too many today."""
    n = attempt_counter.add("invitation", str(invitation.pk), seconds=CONFIRMED_SECONDS)
    return n <= MAILS_PER_PLACE * invitation.places


def confirmation(invitation: Invitation, address: str) -> str:
    """The end of the link that is mailed to an address: who opens it receives mail there."""
    return signing.dumps({"invitation": invitation.pk, "address": address}, salt=CONFIRMED_SALT)


def confirmed_address(invitation: Invitation, confirmation: str) -> str | None:
    """The address that a confirmation was mailed to; None of a forged, old or foreign one."""
    try:
        payload = signing.loads(confirmation, salt=CONFIRMED_SALT, max_age=CONFIRMED_SECONDS)
    except signing.BadSignature:
        return None
    return str(payload["address"]) if payload["invitation"] == invitation.pk else None
