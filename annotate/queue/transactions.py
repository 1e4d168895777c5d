"""One kind of write transaction for the queue on both databases."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connection, transaction

from annotate.queue.vote_errors import QueueError

# SQLite has one writer. Threads that queue here wake in turn; in SQLite's busy handler they
# would sleep in steps, which makes the slowest of 32 annotators wait seconds.
_one_writer = threading.Lock()


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


@contextmanager
def bulk_write() -> Iterator[None]:
    """The same for many rows: on SQLite the disk is waited for when others may write again.

    What it has written is as safe afterwards as what `write` wrote.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with write():
            yield
        return
    # NORMAL commits to the log without waiting for the disk. A vote that is committed meanwhile
    # waits for the log as a whole, and so for these rows, too.
    with _synchronous("NORMAL"), write():
        yield
    with suppress(FileNotFoundError):  # A database in memory has no log.
        _to_disk(f"{connection.settings_dict['NAME']}-wal")


@contextmanager
def _synchronous(level: str) -> Iterator[None]:
    """Another level of safety for this connection, on SQLite and outside of transactions."""
    with connection.cursor() as cursor:
        before = cursor.execute("PRAGMA synchronous").fetchone()[0]
        cursor.execute(f"PRAGMA synchronous = {level}")
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA synchronous = {before}")


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
