"""One POST to a checked address: no redirect, no proxy, one deadline over all of it."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore2

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


@functools.cache
def certificates() -> ssl.SSLContext:
    """The system's, or those that SSL_CERT_FILE names. To load them takes longer than a request."""
    return httpcore2.default_ssl_context()


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


class CheckedBackend(httpcore2.NetworkBackend):
    """Connects to an address that was checked, under its host's name, until a deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Try the host's addresses in turn. Raises WrongAddress, and what httpcore2 raises."""
        failed: Exception = WrongAddress(f"The host {host} has no address.")
        for address in public_addresses(host, port):
            try:
                left = seconds_left(self._deadline, httpcore2.ConnectTimeout)
                stream = self._sockets.connect_tcp(address, port, left, None, socket_options)
                return TimedStream(stream, self._deadline)
            except httpcore2.ConnectError as error:
                failed = error
        raise failed


class TimedStream(httpcore2.NetworkStream):
    """A connection that ends at a deadline, however slowly the other side trickles."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = seconds_left(self._deadline, httpcore2.ReadTimeout)
        return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, seconds_left(self._deadline, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        left = seconds_left(self._deadline, httpcore2.ConnectTimeout)
        return TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def seconds_left(deadline: float, late: type[httpcore2.TimeoutException]) -> float:
    """Seconds until the deadline; raises `late` where none are left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise late
    return left
