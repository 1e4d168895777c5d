"""Failed sign-ins, counted per name and address, so that passwords cannot be tried out."""

from __future__ import annotations

import hashlib
import ipaddress

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

LIMIT = 5
WINDOW = 300
"""Seconds after the first failure until the count starts anew."""


def blocked(request: HttpRequest, username: str) -> bool:
    return int(cache.get(_key(request, username), 0)) >= LIMIT


def failed(request: HttpRequest, username: str) -> None:
    key = _key(request, username)
    # add keeps the first failure's expiry: the count cannot be stretched for ever.
    if not cache.add(key, 1, WINDOW):
        try:
            cache.incr(key)
        except ValueError:  # it expired between the two calls
            cache.set(key, 1, WINDOW)


def succeeded(request: HttpRequest, username: str) -> None:
    cache.delete(_key(request, username))


def address(request: HttpRequest) -> str:
    """The client's address; behind a trusted proxy, the one that proxy saw."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    if settings.TRUST_PROXY and forwarded:
        return forwarded.rsplit(",", 1)[-1].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def from_this_machine(request: HttpRequest) -> bool:
    """True when the client itself is on loopback; behind a proxy everybody would seem to be."""
    if any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "Via")):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _key(request: HttpRequest, username: str) -> str:
    who = f"{username.casefold()}\n{address(request)}"
    return "sign-in:" + hashlib.sha256(who.encode("utf-8", "replace")).hexdigest()
