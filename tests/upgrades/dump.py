"""Keep a small database as this state of the product leaves it.

    DATABASE_URL=... python -m tests.upgrades.dump NAME

writes tests/upgrades/NAME.VENDOR.sql.gz: once with each database, with each release.
"""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def statements(url: str) -> Iterator[str]:
    """The database as SQL, without whose it is."""
    if url.startswith("sqlite:///"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        yield from (line + "\n" for line in connection.iterdump())
        connection.close()
        return
    # INSERT, not COPY: any client can run it.
    command = ["pg_dump", "--no-owner", "--no-privileges", "--inserts", url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # Lines for psql alone.
    yield from (line for line in done.stdout.splitlines(True) if not line.startswith("\\"))


def write(url: str, name: str) -> Path:
    vendor = "sqlite" if url.startswith("sqlite") else "postgresql"
    path = FOLDER / f"{name}.{vendor}.sql.gz"
    # Without a time: the same database gives the same bytes.
    path.write_bytes(gzip.compress("".join(statements(url)).encode(), mtime=0))
    return path


if __name__ == "__main__":
    print(write(os.environ["DATABASE_URL"], sys.argv[1]))
