"""Accounts here of people whom the identity provider knows: found, connected, made."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata

from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.db import IntegrityError, transaction

from annotate.models import ExternalIdentity
from annotate.people.joining.openid_connect import Claims, NotSignedIn, Provider, provider

TRIES = 20
NOT_IN_NAMES = re.compile(r"[^\w.@+-]")
CAME = "openid_came"
"""Key of a session with the account that the provider opened, and when."""
LATELY = 600
"""Seconds for which coming through the provider stands for a password that nobody has."""


def account_of(here: Provider, claims: Claims) -> User:
    """The account that this person opens, by issuer and subject; a new one without rights where
    the operator lets them be made.

    Raises:
        NotSignedIn: they are nobody here, or may not come in any more.
    """
    known = ExternalIdentity.objects.filter(issuer=claims.issuer, subject=claims.subject)
    identity = known.select_related("user").first()
    user = identity.user if identity is not None else _made(here, claims)
    if not user.is_active:
        raise NotSignedIn("closed", here)
    return user


def connect(user: User, claims: Claims) -> ExternalIdentity:
    """Let this subject open the account. Raises IntegrityError where either has another."""
    return ExternalIdentity.objects.create(
        user=user, issuer=claims.issuer, subject=claims.subject, address=claims.address
    )


def connection_of(user: User) -> ExternalIdentity | None:
    """The account's identity at the provider that the operator names now."""
    here = provider()
    return user.external_identities.filter(issuer=here.issuer).first() if here else None


def came_through(session: SessionBase, user: User) -> None:
    """Keep in the session that the provider opened this account just now."""
    session[CAME] = [user.pk, time.time()]


def owns(user: User, session: SessionBase, password: str) -> bool:
    """True for who knows the account's password, or came through the provider a short while ago
    where it has none: a session that somebody left open must not be enough to take it over."""
    return user.check_password(password) or came_lately(user, session)


def came_lately(user: User, session: SessionBase) -> bool:
    """True where the account has no password, and the provider opened it a short while ago."""
    if not only_through_provider(user):
        return False
    who, at = session.get(CAME, (None, 0.0))
    return bool(who == user.pk and 0 <= time.time() - at <= LATELY)


def only_through_provider(user: User) -> bool:
    """True of accounts that have no password, and are connected with the provider."""
    return not user.has_usable_password() and connection_of(user) is not None


def _made(here: Provider, claims: Claims) -> User:
    """A new account: of no project, with no password and no rights.

    It has no mail address: whoever gets mail there later could take it over by a link.
    """
    if not here.creates:
        raise NotSignedIn("unknown", here)
    if not claims.address:
        raise NotSignedIn("unverified", here)
    # Without domains of the operator's own, anybody whom the provider knows would come in.
    if claims.address.rpartition("@")[2].lower() not in here.domains:
        raise NotSignedIn("domain", here)
    # Composed first, as Django does it: one letter may become several, and spaces.
    told = unicodedata.normalize("NFKC", claims.username or claims.address.partition("@")[0])
    wanted = NOT_IN_NAMES.sub("", told)[:100] or "person"
    for n in range(TRIES):
        name = f"{wanted}-{secrets.token_hex(3)}" if n else wanted
        if User.objects.filter(username__iexact=name).exists():
            continue
        try:
            with transaction.atomic():
                user = User.objects.create_user(name)
                connect(user, claims)
            return user
        except IntegrityError:
            # The name is somebody's by now, or another request made the account meanwhile.
            there = ExternalIdentity.objects.filter(issuer=claims.issuer, subject=claims.subject)
            if identity := there.select_related("user").first():
                return identity.user
    raise NotSignedIn("away", here, "no name was free")
