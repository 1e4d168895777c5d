"""The limits on statements are for web requests; these lift them for jobs that read everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


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
