"""Databases of earlier states, migrated as an operator does it: every vote is there as it was."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.upgrades import dump

pytestmark = [pytest.mark.database, pytest.mark.early]
ROOT = Path(__file__).resolve().parents[2]
STATES = sorted({path.name.partition(".")[0] for path in dump.FOLDER.glob("*.sql.gz")})
COUNTS = ("id", "key", "state", "n_a", "n_b", "n_tie", "cast", "asked", "open_slots")
VOTE = """
import json
from io import StringIO
from django.contrib.auth.models import User
from django.core.management import call_command
from annotate import queue
from annotate.models import Project

def votes():
    status = StringIO()
    call_command("status", project="desk", json=True, stdout=status)
    return json.loads(status.getvalue())["votes"]

call_command("migrate", check_unapplied=True)
before = votes()
project, user = Project.objects.get(slug="desk"), User.objects.get(username="olga")
lease = queue.next_pair(project, user)
queue.vote(user, lease.token, choice="a")
print(json.dumps([before, votes()]))
"""
"""What is looked at first after an upgrade, and what somebody does; in one process, because each
loads the product."""


class Installed:
    """An installation whose database was filled from a dump."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        given = {"PAIRLOOP_HOME": str(self.home), "DATABASE_URL": self.url}
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=os.environ | given,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *arguments: str) -> str:
        told = self.manage(*arguments)
        assert told.returncode == 0, told.stderr[-2000:]
        return told.stdout

    @contextmanager
    def open(self) -> Iterator[Any]:
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as database:
                yield database
        else:
            with psycopg.connect(self.url) as server:
                yield server

    def rows(self, table: str, columns: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        names = ", ".join(f'"{name}"' for name in columns) or "*"
        with self.open() as database:
            cursor = database.execute(f"SELECT {names} FROM {table} ORDER BY id")
            heads = [head[0] for head in cursor.description]
            return [dict(zip(heads, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(params=STATES)
def installed(request: pytest.FixtureRequest, tmp_path: Path, db: None) -> Iterator[Installed]:
    path = dump.FOLDER / f"{request.param}.{connection.vendor}.sql.gz"
    sql = gzip.decompress(path.read_bytes()).decode()
    if connection.vendor == "sqlite":
        one = Installed(tmp_path, f"sqlite:///{tmp_path / 'db.sqlite3'}")
        with one.open() as database:
            database.executescript(sql)
        yield one
        return
    config = connection.settings_dict
    name = f"{config['NAME']}_upgrade"
    server = {"host": config["HOST"], "port": config["PORT"], "user": config["USER"]}
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}"')
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        one = Installed(tmp_path, "postgres://{user}@{host}:{port}/".format(**server) + name)
        with one.open() as database:
            database.execute(sql)
        yield one
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_an_upgrade_leaves_every_vote_as_it_was_and_people_go_on(installed: Installed) -> None:
    votes, pairs = installed.rows("annotate_assignment"), installed.rows("annotate_pair", COUNTS)
    assert sum(row["state"] == "voted" for row in votes) > 20
    installed.done("migrate", "--no-input")
    after = installed.rows("annotate_assignment")
    assert [{name: row[name] for name in votes[0]} for row in after] == votes
    assert installed.rows("annotate_pair", COUNTS) == pairs
    before, now = json.loads(installed.done("shell", "-v", "0", "-c", VOTE).splitlines()[-1])
    assert now == before + 1


@pytest.mark.long
@pytest.mark.skipif("connection.vendor == 'sqlite'", reason="its lock is that of a whole file")
def test_a_migration_waits_for_a_lock_a_few_seconds_and_can_be_tried_again(
    installed: Installed,
) -> None:
    """A statement that waits for a table keeps everybody else waiting behind it."""
    with psycopg.connect(installed.url) as somebody:
        somebody.execute("LOCK TABLE annotate_pair IN ROW SHARE MODE")
        told = installed.manage("migrate", "--no-input")
        assert told.returncode != 0 and "lock timeout" in told.stderr
    installed.done("migrate", "--no-input")
