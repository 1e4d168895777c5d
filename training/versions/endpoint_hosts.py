"""Servers that may be asked for completions: those that the operator named, and their keys.

A key stands in the environment alone, under the name of its host, and only processes that ask this
host get it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

KEY = "PAIRLOOP_ENDPOINT_KEY"
PORTS = {"http": 80, "https": 443}
# Strict on purpose: what two readers of addresses could take for two hosts is none.
_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?",
    re.IGNORECASE,
)


class NotAllowed(Exception):
    """The address is none, or not one that the operator named; the message says what to do."""


class Origin(NamedTuple):
    """A server by all that tells it from others."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        usual = PORTS[self.scheme] == self.port
        return f"{self.scheme}://{self.host}{'' if usual else f':{self.port}'}"


def allowed() -> list[Origin]:
    """The servers of PAIRLOOP_ENDPOINT and PAIRLOOP_ENDPOINT_HOSTS; https where none is said."""
    named = [settings.ENDPOINT, *settings.ENDPOINT_HOSTS]
    origins = [_read(one.strip())[0] for one in named if one.strip()]
    return list(dict.fromkeys(origins))


def checked(url: str) -> str:
    """The address as it will be asked, up to and with the version.

    Raises:
        NotAllowed: it is no address, or of a server that the operator did not name.
    """
    if not url.strip().lower().startswith(("http://", "https://")):
        raise NotAllowed("Write the whole address, such as https://api.example.org/v1")
    origin, path = _read(url.strip())
    if origin not in allowed():
        raise NotAllowed(
            f"{origin} is not among the servers that this installation may ask. Whoever runs it "
            "can add it to PAIRLOOP_ENDPOINT_HOSTS."
        )
    return f"{origin}{path}"


def _read(address: str) -> tuple[Origin, str]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise NotAllowed(
            f"{address[:100]} is no address of a server: scheme, host, perhaps a port, and a path, "
            "without a name, a password or a question mark."
        )
    scheme = (match["scheme"] or "https").lower()
    port = int(match["port"] or PORTS[scheme])
    return Origin(scheme, match["host"].lower(), port), match["path"]


def key_name(host: str) -> str:
    """The variable that holds the key of one host, such as PAIRLOOP_ENDPOINT_KEY_API_EXAMPLE_ORG.

    As training.rlhf.completions.openai_endpoint has it.
    """
    return f"{KEY}_{re.sub(r'[^A-Z0-9]', '_', host.strip('[]').upper())}"


def keys(urls: Iterable[str]) -> dict[str, str]:
    """Variables with the keys of these servers, for the process that asks them.

    The one key of PAIRLOOP_ENDPOINT_KEY is that of PAIRLOOP_ENDPOINT, or of the only server there
    is: it must not be shown to others.

    Raises:
        NotAllowed: one of them is not, or no more, among the servers that the operator named.
    """
    servers = allowed()
    general = _read(settings.ENDPOINT)[0] if settings.ENDPOINT else next(iter(servers), None)
    variables = {}
    for origin in {_read(checked(url))[0] for url in urls}:
        name = key_name(origin.host)
        alone = bool(settings.ENDPOINT) or len(servers) == 1
        shared = os.environ.get(KEY, "") if alone and origin == general else ""
        if key := os.environ.get(name, "") or shared:
            variables[name] = key
    return variables
