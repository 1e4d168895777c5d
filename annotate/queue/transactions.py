"""One kind of write transaction for the queue on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
