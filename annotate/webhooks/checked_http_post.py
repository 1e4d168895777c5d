"""One POST to a checked address: no redirect, no proxy, one deadline over all of it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpcore2

from annotate.webhooks.connection_deadline import TimedBackend, certificates
from annotate.webhooks.target_address import WrongAddress, check_url, public_addresses

TIMEOUT = 15.0
"""Seconds from the connection to the end of the answer."""
MOST_READ = 16 * 1024
"""Bytes of an answer's body; what follows is not read."""


class NotAnswered(Exception):
    """There was no answer; the message says why."""


@dataclass(frozen=True)
class Answer:
    """An HTTP status and how the body began."""

    status: int
    text: str


def post(
    url: str, body: bytes, headers: Mapping[bytes | str, bytes | str], *, timeout: float = TIMEOUT
) -> Answer:
    """Send `body` and return the answer, whatever its status.

    Raises:
        NotAnswered: the address is refused, or nobody answered in time.
    """
    backend = CheckedBackend(time.monotonic() + timeout)
    pool = httpcore2.ConnectionPool(certificates(), network_backend=backend, max_connections=1)
    try:
        with pool, pool.stream("POST", check_url(url), headers=headers, content=body) as response:
            return Answer(response.status, _beginning(response))
    except WrongAddress as error:
        raise NotAnswered(str(error)) from error
    except httpcore2.TimeoutException as error:
        raise NotAnswered(f"No answer within {timeout:g} seconds.") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError) as error:
        raise NotAnswered(f"The connection failed: {error or type(error).__name__}.") from error


def _beginning(response: httpcore2.Response) -> str:
    """The first bytes of the body as text. The status is known by now, so errors end it."""
    read = b""
    try:
        for piece in response.iter_stream():
            read += piece
            if len(read) >= MOST_READ:
                break
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        pass
    text = read[:MOST_READ].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)


class CheckedBackend(TimedBackend):
    """Connects to an address that was checked, under its host's name, until a deadline."""

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Raises WrongAddress."""
        checked = public_addresses(host, port)
        if not checked:
            raise WrongAddress(f"The host {host} has no address.")
        return checked
