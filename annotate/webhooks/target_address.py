"""Addresses that a webhook may have: none inside the network that the server stands in.

An admin of one project must not reach through a worker what only this server can reach: itself,
its neighbours, the metadata service of its cloud. PAIRLOOP_WEBHOOK_HOSTS names hosts that may be.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

NAT64 = ip_network("64:ff9b::/96")
LONGEST = 500


class WrongAddress(ValueError):
    """The address cannot be used; the message is for people."""


def check_url(url: str) -> str:
    """The address as it is, if a webhook may have it, as far as that shows without asking DNS.

    Raises:
        WrongAddress
    """
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or set(url) & set(" \\"):
        raise WrongAddress(
            f"The address must be at most {LONGEST} ASCII characters without spaces; "
            "write a host of other letters as xn--…."
        )
    parts, host = _parts(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and named(host)):
        raise WrongAddress("The address must begin with https://.")
    if parts.username is not None or parts.password is not None:
        raise WrongAddress("The address must hold no name or password.")
    if parts.fragment:
        raise WrongAddress("The address must have no part after a #.")
    if not named(host) and (host == "localhost" or host.endswith(".localhost")):
        raise WrongAddress(_refusal(host))
    if not named(host) and (literal := _literal(host)) is not None and not _public(literal):
        raise WrongAddress(_refusal(host))
    return url


def _parts(url: str) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise WrongAddress("The address must read https://HOST/PATH.")
    return parts, host


def named(host: str) -> bool:
    """True when the operator named the host, so that it may be inside the network."""
    return host.lower() in {one.strip().lower() for one in settings.WEBHOOK_HOSTS}


def public_addresses(host: str, port: int) -> list[str]:
    """The addresses to connect to, each checked: whoever asks DNS again may be told another.

    Raises:
        WrongAddress: the host has no address, or one that is not public.
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WrongAddress(f"The host {host} has no address.") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
    if not named(host) and not all(_public(ip_address(one)) for one in addresses):
        raise WrongAddress(_refusal(host))
    return addresses


def _refusal(host: str) -> str:
    return (
        f"The host {host} is inside the server's network. Whoever runs the server may allow it by "
        "PAIRLOOP_WEBHOOK_HOSTS."
    )


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _public(address.ipv4_mapped)
        # They lead to IPv4 addresses that would have to be looked at by the gateway's rules.
        if address.sixtofour or address.teredo or address in NAT64 or address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
