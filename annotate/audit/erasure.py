"""Erasing a person: what names them goes, what they did stays under a pseudonym."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.dispatch import Signal
from django.utils import timezone

from annotate.audit import chain
from annotate.models import AuditEntry, ConfirmedAddress, Membership, Message, PersonKey
from annotate.models.roles import Role
from annotate.people.joining import second_factor
from annotate.people.session_store import end_sessions

person_erased = Signal()
"""Sent in the transaction of an erasure with `old` and `new`, the names of the account, to whoever
wrote the old one into a text."""


class CannotErase(ValueError):
    """The person is still needed, for the reason that is said."""


def erase(user: User) -> str:
    """Take away whatever names a person, and return the name that their account has from now on.

    Their votes, skips, comments and decisions stay with the pseudonyms of their memberships; the
    entries of the audit log stay, under a key that leads nowhere. The account cannot be opened.

    Raises:
        CannotErase: the person is the only admin of a project, or the only superuser.
    """
    _refuse_the_last(user)
    with transaction.atomic():
        key, old = chain.key_of(user), user.username
        end_sessions(user)
        second_factor.turn_off(user)
        user.api_tokens.all().delete()
        user.external_identities.all().delete()
        Message.objects.filter(member__user=user).delete()
        if user.email:
            ConfirmedAddress.objects.filter(address__iexact=user.email).delete()
        AuditEntry.objects.by(key).update(address=None)
        PersonKey.objects.filter(user=user).delete()
        user.memberships.update(active=False)
        # Of the key nothing is left, so that a new name says nothing of the entries either.
        user.username = f"erased-{user.pk}"
        user.first_name = user.last_name = user.email = ""
        user.is_active = user.is_staff = user.is_superuser = False
        user.last_login = None
        user.set_unusable_password()
        user.save()
        person_erased.send(User, old=old, new=user.username)
        chain.append("erase-person", details={"account": user.pk})
    return user.username


def _refuse_the_last(user: User) -> None:
    if user.is_superuser and not _others(user).filter(is_superuser=True).exists():
        raise CannotErase("this is the only superuser: make another one first.")
    for member in user.memberships.filter(role=Role.ADMIN, active=True).select_related("project"):
        others = Membership.objects.filter(
            project=member.project, role=Role.ADMIN, active=True, user__in=_others(user)
        )
        if not others.exists() and not _others(user).filter(is_superuser=True).exists():
            raise CannotErase(f"nobody else administers {member.project.name}.")


def _others(user: User) -> QuerySet[User]:
    return User.objects.filter(is_active=True).exclude(pk=user.pk)


def drop_old_addresses() -> int:
    """Drop addresses that the audit log has held for `PAIRLOOP_ADDRESS_DAYS`; how many."""
    until = timezone.now() - timedelta(days=settings.ADDRESS_DAYS)
    return AuditEntry.objects.filter(address__isnull=False, at__lt=until).update(address=None)
