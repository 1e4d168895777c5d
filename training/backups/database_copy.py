"""A copy of the whole database at one instant, and a database made from one.

People go on voting meanwhile: both engines read a snapshot and lock nobody out.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder
from psycopg import conninfo, sql

FILES = {"sqlite": "db.sqlite3", "postgresql": "database.dump"}
"""Name of the copy in a backup, by the database's engine."""
ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class CannotCopy(RuntimeError):
    """The database, or the program that reads or writes its dumps, refused."""


def dump(folder: Path) -> tuple[Path, dict[str, int], dict[str, str]]:
    """Write the database to a file; return it, the rows of each table, and the migrations."""
    path = folder / FILES[connection.vendor]
    if connection.vendor == "sqlite":
        return path, *_dump_sqlite(path)
    return path, *_dump_postgresql(path)


def load(path: Path) -> None:
    """Put the copy in the place of the database, whose tables hold nothing.

    Raises:
        CannotCopy: nothing was changed.
    """
    if connection.vendor == "sqlite":
        _load_sqlite(path)
    else:
        _load_postgresql(path)


def rows() -> dict[str, int]:
    """The number of rows of each table."""
    with connection.cursor() as cursor:
        return _counts(cursor, connection.introspection.table_names(cursor))


def _counts(cursor: Any, tables: list[str]) -> dict[str, int]:
    quote = connection.ops.quote_name
    counts = {}
    for table in sorted(tables):
        cursor.execute(f"SELECT count(*) FROM {quote(table)}")
        counts[table] = cursor.fetchone()[0]
    return counts


def _last_migrations(cursor: Any) -> dict[str, str]:
    table = connection.ops.quote_name(MigrationRecorder.Migration._meta.db_table)
    cursor.execute(f"SELECT app, max(name) FROM {table} GROUP BY app")
    return dict(cursor.fetchall())


def _dump_sqlite(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    source = str(connection.settings_dict["NAME"])
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=20)) as database,
        closing(sqlite3.connect(path)) as copy,
    ):
        # All pages in one step: in several, every vote in between would begin the copy anew. A
        # reader of a write-ahead log keeps no writer waiting.
        database.backup(copy, pages=-1)
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise CannotCopy("the database is damaged: see manage.py doctor.")
        cursor = copy.cursor()
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        names = [name for (name,) in cursor.execute(tables).fetchall()]
        return _counts(cursor, names), _last_migrations(cursor)


def _load_sqlite(path: Path) -> None:
    target = Path(connection.settings_dict["NAME"])
    with closing(sqlite3.connect(path)) as copy:
        if copy.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise CannotCopy("the database in it is damaged.")
    connections.close_all()
    # The log of the database before would be taken for that of the new one.
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    path.replace(target)
    target.chmod(0o600)


def _dump_postgresql(path: Path) -> tuple[dict[str, int], dict[str, str]]:
    with psycopg.connect(**_parameters(), autocommit=False) as session:
        session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        session.read_only = True
        cursor = session.cursor()
        # The counts, and the program that dumps, see one and the same instant.
        snapshot = _only(cursor.execute("SELECT pg_export_snapshot()").fetchone())
        _program("pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={path}")
        tables = sql.SQL("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        names = [_only(row) for row in cursor.execute(tables).fetchall()]
        return _counts(cursor, names), _last_migrations(cursor)


def _only(row: Any) -> str:
    return str(row[0])


def _load_postgresql(path: Path) -> None:
    connections.close_all()
    # One transaction: a dump that breaks off leaves the database as it was.
    _program("pg_restore", "--clean", "--if-exists", "--single-transaction", str(path))


def _program(name: str, *arguments: str) -> None:
    """Call a program of PostgreSQL. The password travels in the environment, which `ps` hides."""
    parameters = _parameters()
    password = {"PGPASSWORD": parameters.pop("password")} if "password" in parameters else {}
    target = f"--dbname={conninfo.make_conninfo('', **parameters)}"
    command = [name, "--no-owner", "--no-privileges", "--no-password", target, *arguments]
    try:
        ended = subprocess.run(
            command, env=os.environ | password, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise CannotCopy(
            f"{name} is not installed: install the client programs of PostgreSQL "
            "(Debian: postgresql-client), of the server's version or newer."
        ) from error
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"{name} ended with {ended.returncode}"]
        raise CannotCopy(" ".join(line.strip() for line in lines[:3]))


def _parameters() -> dict[str, Any]:
    """The connection's parameters for libpq, without the limits that the web side asks for."""
    settings = connection.settings_dict
    given = {
        "dbname": settings["NAME"],
        "user": settings["USER"],
        "password": settings["PASSWORD"],
        "host": settings["HOST"],
        "port": settings["PORT"],
    }
    kept = {k: v for k, v in settings["OPTIONS"].items() if k.startswith("ssl")}
    return {key: str(value) for key, value in (given | kept).items() if value}
