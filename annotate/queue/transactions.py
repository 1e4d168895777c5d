"""One kind of write transaction for the queue on both databases."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from django.db import connection, transaction

from annotate.queue.vote_errors import QueueError

# SQLite has one writer. Threads that queue here wake in turn; in SQLite's busy handler they
# would sleep in steps, which makes the slowest of 32 annotators wait seconds.
_one_writer = threading.Lock()

ROOM = 0.03
"""Seconds between two transactions of many rows on SQLite. Other processes look for the lock in
steps, of 25 ms at most within the first 0.13 s of their waiting: they find it free in between."""
LASTS = {"sqlite": 0.04, "postgresql": 0.08}
"""Seconds that a transaction of many rows is to take: on SQLite nobody else writes meanwhile, on
PostgreSQL only who wants the same rows waits."""


@contextmanager
def write() -> Iterator[None]:
    """A transaction that may write; inside another one, a part of it.

    A QueueError does not roll back: it is always raised before anything is written, and the
    transaction around it may go on. On SQLite the transaction begins IMMEDIATE (set in the
    settings).
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        # Inside a transaction the lock is not taken: its holder could be waiting for us.
        yield from _transaction()
        return
    with _one_writer:
        yield from _transaction()


@dataclass
class Held:
    """The time for which a transaction of many rows kept others from writing."""

    seconds: float = 0.0
    """Known once it has ended; without the wait for the disk, in which others may write."""
    _began: float = 0.0

    def begin(self) -> None:
        """Count from now: before, it was others that were waited for."""
        self._began = time.perf_counter()

    def end(self) -> None:
        self.seconds = time.perf_counter() - self._began


@contextmanager
def bulk_write() -> Iterator[Held]:
    """The same for many rows: on SQLite the disk is waited for when others may write again.

    What it has written is as safe afterwards as what `write` wrote. Who writes batch after batch
    leaves room between two of them, so that whoever waits gets its turn.
    """
    held = Held()
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with write():
            held.begin()
            yield held
        held.end()
        return
    time.sleep(max(0.0, _last_bulk.ended + ROOM - time.monotonic()))
    # NORMAL commits to the log without waiting for the disk. A vote that is committed meanwhile
    # waits for the log as a whole, and so for these rows, too. Nor does the commit copy the log
    # into the database, which would keep other threads of this process waiting.
    with _set("synchronous", "NORMAL"), _set("wal_autocheckpoint", 0):
        with write():
            held.begin()
            yield held
        held.end()
        _last_bulk.ended = time.monotonic()
    with suppress(FileNotFoundError):  # A database in memory has no log.
        _to_disk(f"{connection.settings_dict['NAME']}-wal")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")


class Pace:
    """The number of rows for the next transaction of many, by how long the last one took.

    It is halved or doubled at most, and stays between `least` and `most`. Rows are whatever the
    caller counts.
    """

    def __init__(self, first: int, *, least: int, most: int) -> None:
        self.rows, self._least, self._most = first, least, most

    @contextmanager
    def write(self, rows: int) -> Iterator[Held]:
        """`bulk_write` of so many rows, from which the next number follows."""
        with bulk_write() as held:
            yield held
        wanted = rows * LASTS[connection.vendor] / max(held.seconds, 0.001)
        wanted = min(max(wanted, self.rows / 2), self.rows * 2, self._most)
        self.rows = max(self._least, round(wanted))


class _LastBulk(threading.local):
    ended = float("-inf")


_last_bulk = _LastBulk()


@contextmanager
def _set(pragma: str, value: str | int) -> Iterator[None]:
    """Another setting for this connection, on SQLite and outside of transactions."""
    with connection.cursor() as cursor:
        before = cursor.execute(f"PRAGMA {pragma}").fetchone()[0]
        cursor.execute(f"PRAGMA {pragma} = {value}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA {pragma} = {before}")


def _to_disk(path: str) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _transaction() -> Iterator[None]:
    refusal: QueueError | None = None
    # Without savepoints: they would double the statements of a vote.
    with transaction.atomic(savepoint=False):
        try:
            yield
        except QueueError as error:
            refusal = error
    if refusal is not None:
        raise refusal
