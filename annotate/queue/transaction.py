"""One kind of write transaction for the queue on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from annotate.queue.errors import QueueError

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


def take_time() -> None:
    """Lift the limits meant for web requests until the transaction ends."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")


@contextmanager
def unhurried() -> Iterator[None]:
    """For jobs that read longer than a page may."""
    if connection.vendor == "postgresql":
        with transaction.atomic():
            take_time()
            yield
    else:
        # Without a limit, and in a transaction nobody else could write.
        yield


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
