"""Rows as the database gives them: a query's tuples without what Django makes of each value.

JSON and times (as text) differ between databases; annotate.votes.export_values reads both. Booleans
are 0 and 1 on SQLite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

CHUNK = 2000
Row = TypeVar("Row")


def stream(query: QuerySet[Any, tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The tuples of a `values_list`, read in chunks: constant memory."""
    with suppress(EmptyResultSet), connection.chunked_cursor() as cursor:
        cursor.execute(*query.query.sql_with_params())
        while rows := cursor.fetchmany(CHUNK):
            yield from rows


def rows_of(query: QuerySet[Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """All tuples of a `values_list` that is known to be small."""
    with suppress(EmptyResultSet), connection.cursor() as cursor:
        cursor.execute(*query.query.sql_with_params())
        return list(cursor.fetchall())
    return []


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Lists of at most `size` rows."""
    rest = iter(rows)
    while batch := list(islice(rest, size)):
        yield batch
