"""One kind of write transaction for the queue on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

# SQLite has one writer. Threads that queue here wake in turn; in SQLite's busy handler they
# would sleep in steps, which makes the slowest of 32 annotators wait seconds.
_one_writer = threading.Lock()


@contextmanager
def write() -> Iterator[None]:
    """A transaction that may write; inside another one, a part of it.

    On SQLite it begins IMMEDIATE (set in the settings). Inside a transaction the lock is not
    taken: its holder could be waiting for that very transaction.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    with _one_writer, transaction.atomic():
        yield
