"""Accounts here of people whom the identity provider knows: found, connected, made."""

from __future__ import annotations

import re
import secrets

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from annotate.models import ExternalIdentity
from annotate.people.joining.openid_connect import Claims, Provider, provider

TRIES = 20
NOT_IN_NAMES = re.compile(r"[^\w.@+-]")


def account_of(here: Provider, claims: Claims) -> User | None:
    """The account that this person opens, by issuer and subject; a new one without rights where
    the operator lets them be made; None for who is nobody here, or may not come in any more."""
    known = ExternalIdentity.objects.filter(issuer=claims.issuer, subject=claims.subject)
    identity = known.select_related("user").first()
    if identity is not None:
        return identity.user if identity.user.is_active else None
    return _made(claims) if _may_be_made(here, claims) else None


def connect(user: User, claims: Claims) -> ExternalIdentity:
    """Let this subject open the account. Raises IntegrityError where either has another."""
    return ExternalIdentity.objects.create(
        user=user, issuer=claims.issuer, subject=claims.subject, address=claims.address
    )


def connection_of(user: User) -> ExternalIdentity | None:
    """The account's identity at the provider that the operator names now."""
    here = provider()
    return user.external_identities.filter(issuer=here.issuer).first() if here else None


def _may_be_made(here: Provider, claims: Claims) -> bool:
    domain = claims.address.rpartition("@")[2].lower()
    # Without domains of the operator's own, anybody whom the provider knows would come in.
    return here.creates and bool(domain) and domain in here.domains


def _made(claims: Claims) -> User | None:
    """A new account: of no project, with no password and no rights.

    Its mail address is not that of another account taken over: accounts are never joined by it.
    """
    wanted = NOT_IN_NAMES.sub("", claims.username or claims.address.partition("@")[0])[:100]
    for n in range(TRIES):
        name = (wanted or "person") if not n else f"{wanted or 'person'}-{secrets.token_hex(3)}"
        try:
            with transaction.atomic():
                user = User.objects.create_user(name)
                connect(user, claims)
            return user
        except IntegrityError:
            # The name is somebody's, or another request made the account meanwhile.
            there = ExternalIdentity.objects.filter(issuer=claims.issuer, subject=claims.subject)
            if identity := there.select_related("user").first():
                return identity.user
    return None
