"""HTML that was rendered once and is shown again, within bounds."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    def __len__(self) -> int: ...


T = TypeVar("T", bound=Sized)


class Kept(Generic[T]):
    """The newest results by key, as long as their lengths sum up to no more than a bound.

    What is longer than a hundredth of that is made anew each time: one such text would put many
    ordinary ones out.
    """

    def __init__(self, characters: int) -> None:
        self.bound = characters
        self.held = 0
        self._by_key: OrderedDict[bytes, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes, make: Callable[[], T]) -> T:
        """The result kept under the key, or else what `make` returns."""
        with self._lock:
            if key in self._by_key:
                self._by_key.move_to_end(key)
                return self._by_key[key]
        made = make()
        if len(made) <= self.bound // 100:
            self._keep(key, made)
        return made

    def _keep(self, key: bytes, made: T) -> None:
        with self._lock:
            # Another thread may have made it meanwhile.
            if key in self._by_key:
                return
            self._by_key[key] = made
            self.held += len(made)
            while self.held > self.bound:
                _, oldest = self._by_key.popitem(last=False)
                self.held -= len(oldest)
