"""HTTP connections that end at a deadline, however slowly the other side trickles."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import httpcore2


@functools.cache
def certificates() -> ssl.SSLContext:
    """The system's, or those that SSL_CERT_FILE names. To load them takes longer than a request."""
    return httpcore2.default_ssl_context()


class TimedBackend(httpcore2.NetworkBackend):
    """Connects to a host's addresses in turn, until a deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._sockets = httpcore2.SyncBackend()

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses to try; the host's name leaves them to the system."""
        return [host]

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Raises what httpcore2 raises, for the last address."""
        *others, last = self.addresses(host, port)
        for address in others:
            with suppress(httpcore2.ConnectError):
                return self._connect(address, port, socket_options)
        return self._connect(last, port, socket_options)

    def _connect(
        self, address: str, port: int, socket_options: Iterable[Any] | None
    ) -> httpcore2.NetworkStream:
        left = seconds_left(self._deadline, httpcore2.ConnectTimeout)
        stream = self._sockets.connect_tcp(address, port, left, None, socket_options)
        return TimedStream(stream, self._deadline)


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
