"""Rows that were read from a file, and how many of them were left out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from training.rlhf.rows import RowError

T = TypeVar("T")
log = logging.getLogger(__name__)


class Unusable(ValueError):
    """A well-formed row that teaches nothing: its last message is no reply, say."""


class UsableRows(list[T]):
    """The rows of a file that can be used; `left_out` counts the others by the reason."""

    def __init__(self, path: str | Path, kind: str) -> None:
        super().__init__()
        self.path, self.kind = path, kind
        self.left_out: Counter[str] = Counter()
        self._first = ""

    @contextmanager
    def row(self, where: str) -> Iterator[None]:
        """Read one row; one that is unusable is counted.

        Raises:
            RowError: the row is malformed, at `where`.
        """
        try:
            yield
        except Unusable as error:
            self.left_out[str(error)] += 1
            self._first = self._first or f"{where}: {error}"
        except (TypeError, ValueError) as error:
            if isinstance(error, RowError):
                raise
            raise RowError(f"{where}: {error}") from error

    def checked(self) -> UsableRows[T]:
        """The rows, and a word on what was left out.

        Raises:
            RowError: there is none.
        """
        if not self:
            raise RowError(self._first or f"{self.path} holds no {self.kind}")
        for reason, n in self.left_out.items():
            log.warning("%s: %d rows left out: %s", self.path, n, reason)
        return self

    @property
    def counted(self) -> dict[str, float]:
        """rows_left_out, where there are any."""
        n = self.left_out.total()
        return {"rows_left_out": float(n)} if n else {}
