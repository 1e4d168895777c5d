"""Requests as views get them: their types, and where they come from."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A request whose `htmx` is true when a page of ours asks for a fragment of itself."""

    htmx: HtmxDetails


class AuthenticatedHttpRequest(HtmxRequest):
    """A request of somebody who signed in: every view but those under `login_not_required`."""

    user: User


def address(request: HttpRequest) -> str:
    """The client's address; behind a trusted proxy, the one that proxy saw."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    if settings.TRUST_PROXY and forwarded:
        return forwarded.rsplit(",", 1)[-1].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def public_url(request: HttpRequest, path: str = "/") -> str:
    """The address of a page of ours for somebody elsewhere, with scheme and host.

    As the operator named the installation (PAIRLOOP_PUBLIC_URL), else as this request came: over
    loopback, a link made of that leads nowhere but here.
    """
    return settings.PUBLIC_URL + path if settings.PUBLIC_URL else request.build_absolute_uri(path)


def from_this_machine(request: HttpRequest) -> bool:
    """True when the client itself is on loopback; behind a proxy everybody would seem to be."""
    if any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "Via")):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def network(request: HttpRequest) -> str:
    """The client's address; of IPv6 its /64, of which one client has all addresses."""
    text = address(request)
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return text
    if not isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed)
    # An IPv4 address as a socket for both writes it: its /64 would be all of IPv4.
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.IPv6Network((parsed, 64), strict=False))
