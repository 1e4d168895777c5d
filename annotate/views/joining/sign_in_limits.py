"""Failed sign-ins: limited so that passwords cannot be tried out, nor people be locked out.

They are counted by name and address, by address alone (many names from one place), and by name
alone (one name from many places). The last two never count against a browser that has signed in
to the account before: it carries a signed cookie and a count of its own (OWASP's device cookies),
so that a stranger who tries somebody's name keeps out nobody but strangers.
"""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.auth.forms import UsernameField
from django.core import signing
from django.http import HttpRequest, HttpResponse

from annotate.people.http_requests import network
from annotate.people.joining import attempt_counter

LIMIT = 5
"""By name and address, and of a known browser."""
ADDRESS_LIMIT = 50
NAME_LIMIT = 30
WINDOW = 300
"""Seconds after the first failure until the count starts anew."""
COOKIE, SALT = "known", "annotate.known-browser"
COOKIE_SECONDS = 365 * 24 * 3600
MOST_NAMES = 5
"""Accounts that one browser is known to; a shared computer forgets the oldest."""


def blocked(request: HttpRequest, username: str) -> bool:
    return any(attempt_counter.made(*what) >= limit for what, limit in _counts(request, username))


def failed(request: HttpRequest, username: str) -> None:
    for what, _limit in _counts(request, username):
        attempt_counter.add(*what, seconds=WINDOW)


def succeeded(request: HttpRequest, response: HttpResponse, username: str) -> None:
    """Forget this person's failures here, and know their browser from now on."""
    name = as_read(username)
    attempt_counter.forget(*_here(request, name))
    known = _known(request)
    device = known.pop(name, None) or secrets.token_urlsafe(16)
    attempt_counter.forget("known browser", device, name)
    kept = dict([*known.items(), (name, device)][-MOST_NAMES:])
    response.set_cookie(
        COOKIE,
        signing.dumps(kept, salt=SALT),
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.HTTPS,
    )


def as_read(username: str) -> str:
    """The name as the form reads it: one account has one count, however it is written.

    No further: names that differ in case are accounts of their own, and who has one of them must
    not be known to the other.
    """
    read = UsernameField(required=False).to_python(username) or ""
    return read.strip()


def _counts(request: HttpRequest, username: str) -> list[tuple[tuple[str, ...], int]]:
    name = as_read(username)
    device = _known(request).get(name)
    if device:
        return [(("known browser", device, name), LIMIT)]
    return [
        (_here(request, name), LIMIT),
        (("address", network(request)), ADDRESS_LIMIT),
        (("name", name), NAME_LIMIT),
    ]


def _here(request: HttpRequest, name: str) -> tuple[str, ...]:
    return ("name and address", name, network(request))


def _known(request: HttpRequest) -> dict[str, str]:
    """Names that this browser has signed in with, and what it is known by to each."""
    try:
        known: dict[str, str] = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=SALT, max_age=COOKIE_SECONDS
        )
    except signing.BadSignature:
        return {}
    return known
