"""Adding many rows to a table by one statement: COPY on PostgreSQL, executemany on SQLite.

Rows of the ORM cost several times as much to make and to bind. The numbers of new rows are taken
before, because other rows name them, so that a transaction has nothing to do but to insert.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models

Row = tuple[Any, ...]


class Columns:
    """The columns of a table that an import fills: by row, or with one value for all rows."""

    def __init__(self, model: type[models.Model], by_row: Sequence[str], **same: Any) -> None:
        self._table = model._meta.db_table
        fields = {field.attname: field for field in model._meta.concrete_fields}
        self._by_row = [fields[name].column for name in by_row]
        self._same = {fields[name].column: value for name, value in same.items()}

    def take_ids(self, n: int) -> range | list[int]:
        """Numbers for `n` new rows.

        On SQLite somebody else may use them first; `insert` then raises IntegrityError.
        """
        if not n:
            return []
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                sequence = f"nextval(pg_get_serial_sequence('{self._table}', 'id'))"
                cursor.execute(f"SELECT {sequence} FROM generate_series(1, %s)", [n])
                return [row[0] for row in cursor.fetchall()]
            cursor.execute(
                "SELECT MAX(COALESCE((SELECT seq FROM sqlite_sequence WHERE name = %s), 0), "
                f'COALESCE((SELECT MAX(id) FROM "{self._table}"), 0))',
                [self._table],
            )
            last = cursor.fetchone()[0]
            return range(last + 1, last + 1 + n)

    def insert(self, rows: Sequence[Row]) -> None:
        """Add rows of the values of `by_row`, in its order."""
        if not rows:
            return
        names = ", ".join(f'"{name}"' for name in (*self._by_row, *self._same))
        same = tuple(self._same.values())
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # Past Django's cursor, and so past its names of the driver's errors.
                with connection.wrap_database_errors:
                    with cursor.copy(f'COPY "{self._table}" ({names}) FROM STDIN') as copy:
                        for row in rows:
                            copy.write_row(row + same)
                return
            values = ", ".join([*["%s"] * len(self._by_row), *map(_literal, same)])
            cursor.executemany(
                f'INSERT INTO "{self._table}" ({names}) VALUES ({values})',
                rows,
            )


def _literal(value: object) -> str:
    """A value of this module's callers in SQL; none of them comes from a file."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        assert "'" not in value and "%" not in value
        return f"'{value}'"
    assert isinstance(value, bool | int | float)
    return str(value if not isinstance(value, bool) else int(value))


def stored_time(moment: datetime | None) -> Any:
    """A time as the database's driver takes it in a row."""
    return None if moment is None else connection.ops.adapt_datetimefield_value(moment)


def json_text(value: Any, empty: str = "[]") -> str:
    """A value of a JSON column as the database's driver takes it in a row.

    The order of keys is kept, and letters are escaped as Django's own JSONField does on SQLite.
    """
    return json.dumps(value) if value else empty


def new_tokens(n: int) -> Iterator[str]:
    """Tokens that sort after earlier ones: random places in a large index are slow to write."""
    drawn = secrets.token_hex(8 * n)
    now = time.time_ns()
    return (f"{now + i:016x}{drawn[16 * i : 16 * i + 16]}" for i in range(n))
