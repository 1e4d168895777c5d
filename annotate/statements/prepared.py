"""Statements that stand on the path of every vote: through the ORM, most of what a vote costs would
be the building of SQL that is the same each time.

Their texts are constants, so that PostgreSQL plans them once per connection and Python parses them
once. Whatever differs between calls is a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.backends.utils import CursorWrapper
from psycopg import Cursor
from psycopg.errors import FeatureNotSupported
from psycopg.pq import TransactionStatus

Row = tuple[Any, ...]
Parameters = Mapping[str, Any] | Sequence[Any]


class PreparingCursor(Cursor[Any]):
    """A cursor that sends parameters beside a statement and has PostgreSQL keep its plan: Django's
    writes them into the text, which is then another one each time.

    A pooler that gives each transaction another connection has to know prepared statements
    (docs/operations.md).
    """

    def execute(self, query: Any, params: Any = None, **options: Any) -> PreparingCursor:
        alone = self.connection.info.transaction_status == TransactionStatus.IDLE
        try:
            super().execute(query, params, prepare=True, **options)
        except FeatureNotSupported:
            # A migration beside us changed a column's type: "cached plan must not change result
            # type". After a rollback psycopg plans anew by itself; outside of a transaction there
            # is none, and this connection would fail until its end.
            if not alone:
                raise
            self.connection.execute("DEALLOCATE ALL", prepare=False)
            super().execute(query, params, prepare=True, **options)
        return self


@contextmanager
def cursor() -> Iterator[CursorWrapper]:
    """A cursor for statements of constant text."""
    # Django's record of statements tells those of its own cursor alone.
    if connection.vendor != "postgresql" or connection.queries_logged:
        with connection.cursor() as plain:
            yield plain
        return
    connection.ensure_connection()
    with PreparingCursor(connection.connection) as bare:
        # Wrapped as Django wraps its own, so that errors are Django's.
        yield connection._prepare_cursor(bare)  # type: ignore[attr-defined]  # Django has no public way to another kind of cursor.


def row(sql: str, parameters: Parameters) -> Row | None:
    """The first row of a statement's result, None where there is none."""
    with cursor() as at:
        at.execute(sql, adapted(parameters))
        first: Row | None = at.fetchone()
        return first


def rows(sql: str, parameters: Parameters) -> list[Row]:
    """All rows of a statement's result."""
    with cursor() as at:
        at.execute(sql, adapted(parameters))
        return list(at.fetchall())


def execute(sql: str, parameters: Parameters) -> None:
    """Execute a statement that returns nothing."""
    with cursor() as at:
        at.execute(sql, adapted(parameters))


def adapted(parameters: Parameters) -> Parameters:
    """The parameters as this database stores them."""
    if connection.vendor == "postgresql":
        return parameters
    if isinstance(parameters, Mapping):
        return {name: _as_sqlite_stores(value) for name, value in parameters.items()}
    return [_as_sqlite_stores(value) for value in parameters]


def _as_sqlite_stores(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value
