"""Bounds of what an AI annotator may ask of a server: requests, tokens, and their pace.

Torch-free.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 3
"""Fewer than English has, so that what is not counted yet is rather over- than underestimated."""


@dataclass
class RequestBounds:
    """Requests and tokens that are spent, reserved and allowed; 0 allows any number.

    Tokens of a request are reserved by an estimate before it is sent, and replaced by what the
    server counted; where it counts none, the estimate stands.
    """

    most_requests: int = 0
    most_tokens: int = 0
    requests: int = 0
    tokens: int = 0
    reserved: int = 0

    def allow(self, estimates: list[int]) -> bool:
        """True where requests of so many tokens each may be sent."""
        tokens = self.tokens + self.reserved + sum(estimates)
        few = not self.most_requests or self.requests + len(estimates) <= self.most_requests
        return few and (not self.most_tokens or tokens <= self.most_tokens)

    def reserve(self, estimate: int) -> None:
        """Count a request that is sent."""
        self.requests += 1
        self.reserved += estimate

    def settle(self, estimate: int, used: int) -> None:
        """Count the tokens of one that came back; `used` is 0 where nobody told."""
        self.reserved -= estimate
        self.tokens += used or estimate


def estimated_tokens(characters: int, longest_answer: int) -> int:
    """Tokens of a question of so many characters and of the longest answer to it."""
    return -(-characters // CHARACTERS_PER_TOKEN) + longest_answer


class Pace:
    """At most so many requests a minute, evenly: none is sent before its time."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = 60.0 / per_minute
        self._clock = clock
        self._next = clock()

    def wait(self) -> float:
        """Seconds until the next request may be sent."""
        return max(0.0, self._next - self._clock())

    def sent(self) -> None:
        """Count a request; time in which none was sent is not made up for."""
        self._next = max(self._next, self._clock()) + self._gap
