"""Objects that an identity provider answers with: safe addresses, one deadline, a size.

A provider is somebody else's server. What it sends is read until a deadline that its trickling
does not move, no further than a size, without following it elsewhere.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore2

from annotate.webhooks.connection_deadline import TimedBackend, certificates

TIMEOUT = 5.0
"""Seconds from the connection to the end of the answer: a thread of the web side waits for it."""
MOST_READ = 256 * 1024
KEPT_SECONDS = 600
"""Seconds for which a provider's document and keys are believed without asking again."""
ASKED_AGAIN = 60
"""Seconds at least between two looks for a key that nobody had heard of."""
AWAY_SECONDS = 5
"""Seconds after a failure in which nobody waits for the same address again."""


class NoAnswer(Exception):
    """The provider is away, or what it sent is no object; the message is for the operator."""


class UnsafeAddress(Exception):
    """Somebody on the way could read or change what is sent to this address."""


_kept: dict[str, tuple[float, dict[str, Any]]] = {}
_away: dict[str, tuple[float, str]] = {}


def kept_object(url: str, *, fresh: bool = False) -> dict[str, Any]:
    """The object at an address, as this process last read it.

    `fresh` reads it again, but not each time that somebody shows an unknown key.

    Raises:
        NoAnswer: see `ask`; also for some seconds after it was raised.
        UnsafeAddress: see `safe`.
    """
    at, told = _kept.get(url, (0.0, {}))
    if told and time.monotonic() - at < (ASKED_AGAIN if fresh else KEPT_SECONDS):
        return told
    failed_at, why = _away.get(url, (0.0, ""))
    if why and time.monotonic() - failed_at < AWAY_SECONDS:
        raise NoAnswer(why)
    try:
        told = ask("GET", url)
    except NoAnswer as error:
        _away[url] = (time.monotonic(), str(error))
        raise
    _away.pop(url, None)
    _kept[url] = (time.monotonic(), told)
    return told


def forget() -> None:
    """Read every provider's description and keys anew."""
    _kept.clear()
    _away.clear()


def ask(
    method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The JSON object that the provider answers with, with status 200.

    Raises:
        NoAnswer: it does not within TIMEOUT and MOST_READ. A redirect is not followed.
        UnsafeAddress: see `safe`.
    """
    # Unpacked, an answer of a few bytes may be of any size.
    sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
    backend = TimedBackend(time.monotonic() + TIMEOUT)
    pool = httpcore2.ConnectionPool(certificates(), network_backend=backend, max_connections=1)
    try:
        with (
            pool,
            pool.stream(
                method, safe(url), headers=list(sent.items()), content=body or None
            ) as answer,
        ):
            if answer.status != 200:
                raise NoAnswer(f"status {answer.status}")
            told = json.loads(_read(answer))
    except httpcore2.ConnectError as error:
        # Such as a certificate that nobody vouches for; nothing was sent yet that it could hold.
        raise NoAnswer(f"no connection: {error}") from error
    except (
        *(httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError),
        *(OSError, ssl.SSLError, ValueError, RecursionError),
    ) as error:
        # Not its message: it may hold a part of what was sent.
        raise NoAnswer(type(error).__name__) from error
    if not isinstance(told, dict):
        raise NoAnswer("no object")
    return told


def _read(answer: httpcore2.Response) -> bytes:
    read = bytearray()
    for piece in answer.iter_stream():
        read += piece
        if len(read) > MOST_READ:
            raise NoAnswer(f"more than {MOST_READ} bytes")
    return bytes(read)


def safe(url: object) -> str:
    """The address, if it is https, or http to this very machine, and names a host alone.

    Raises:
        UnsafeAddress: it is none of these.
    """
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = parts.hostname or ""
        # The port is read when it is asked for; user names and fragments have no business there.
        odd = parts.port == 0 or "@" in parts.netloc or parts.fragment
    except ValueError as error:
        raise UnsafeAddress from error
    encrypted = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))
    address = parts.geturl()
    plain = address.isascii() and address.isprintable() and not set(address) & set(" \\")
    if not host or odd or not encrypted or not plain:
        raise UnsafeAddress
    return address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
