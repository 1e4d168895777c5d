"""Memory of one pass over a file: what it has said so far, beyond what the database holds.

A table of SQLite on disk, which the system removes with the process: a file of a million rows must
not cost a hundred megabytes of dictionaries.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

MOST_AT_ONCE = 500


class FileMemory:
    """Values by keys of text; a value is what JSON can say."""

    def __init__(self) -> None:
        # The empty name is a temporary database, in memory until it grows.
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8000"):
            self._base.execute(f"PRAGMA {pragma}")
        # With row numbers: values are written one behind the other, and only keys out of order.
        self._base.execute("CREATE TABLE kept (key BLOB PRIMARY KEY, value)")

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """Key -> value of those keys that are known."""
        by_short = {_short(key): key for key in keys}
        wanted = list(by_short)
        values: dict[str, Any] = {}
        for start in range(0, len(wanted), MOST_AT_ONCE):
            part = wanted[start : start + MOST_AT_ONCE]
            marks = ",".join("?" * len(part))
            rows = self._base.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", part)
            values |= {by_short[key]: _read(value) for key, value in rows}
        return values

    def put(self, values: Mapping[str, Any]) -> None:
        self._base.execute("BEGIN")
        rows = ((_short(key), _written(value)) for key, value in values.items())
        self._base.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)
        self._base.execute("COMMIT")


def _short(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def _written(value: Any) -> Any:
    return value if isinstance(value, int) else json.dumps(value)


def _read(value: Any) -> Any:
    return value if isinstance(value, int) else json.loads(value)
