"""A backup that is made while people vote, and the installation that is made of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from annotate import queue
from annotate.models import Assignment, Pair, Project
from tests.conftest import at_once
from training.models import ModelVersion

pytestmark = pytest.mark.django_db(transaction=True)
MakePairs = Callable[..., list[Pair]]
VOTES = "SELECT token, choice, pair_id FROM annotate_assignment WHERE state = 'voted'"
COUNTED = """SELECT p.id, p.n_a + p.n_b + p.n_tie, count(a.id) FROM annotate_pair p
    LEFT JOIN annotate_assignment a ON a.pair_id = p.id AND a.state = 'voted'
    GROUP BY p.id, p.n_a + p.n_b + p.n_tie"""


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOME = tmp_path / "home"
    settings.HOME.mkdir()
    (settings.HOME / "secret_key").write_text("sealed", "ascii")
    weights = settings.HOME / "runs" / "1" / "policy" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(os.urandom(70_000))
    (weights.parents[1] / "checkpoints").mkdir()
    (weights.parents[1] / "checkpoints" / "step-1.safetensors").write_bytes(b"optimiser")
    (settings.HOME / "huey.sqlite3").write_bytes(b"triggers")
    return Path(settings.HOME)


class Elsewhere:
    """Another installation: commands of its own process, and its database read directly."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url = home, url

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PAIRLOOP", "DJANGO"))},
            "PAIRLOOP_HOME": str(self.home),
            "DATABASE_URL": self.url,
        }
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=django_settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def rows(self, statement: str) -> list[Any]:
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.home / "db.sqlite3")) as database:
                return database.execute(statement).fetchall()
        with psycopg.connect(self.url) as session:
            return session.execute(statement).fetchall()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    """An installation that holds nothing yet, on the engine that the test is on."""
    folder = tmp_path / "elsewhere"
    if connection.vendor == "sqlite":
        yield Elsewhere(folder, f"sqlite:///{folder / 'db.sqlite3'}")
        return
    config = connection.settings_dict
    name = f"{config['NAME']}_elsewhere"
    connection.close()
    server = {"host": config["HOST"], "port": config["PORT"], "user": config["USER"]}
    with psycopg.connect(**server, dbname="postgres", autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}"')
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield Elsewhere(folder, "postgres://{user}@{host}:{port}/".format(**server) + name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def vote_on_what_comes(project: Project, person: User, most: int) -> list[UUID]:
    """The tokens of the person's votes, each acknowledged."""
    tokens: list[UUID] = []
    while len(tokens) < most and (lease := queue.next_pair(project, person)):
        queue.vote(person, lease.token, choice="a", strength=1)
        tokens.append(lease.token)
    return tokens


def back_up(to: Path) -> int:
    call_command("backup", str(to))
    return 0


def test_a_backup_under_load_restores_to_all_votes_acknowledged_before_it(
    home: Path,
    elsewhere: Elsewhere,
    project: Project,
    ann: User,
    ben: User,
    make_pairs: MakePairs,
    tmp_path: Path,
) -> None:
    make_pairs(90)
    before = vote_on_what_comes(project, ann, 20)
    archive = tmp_path / "desk.tar.zst"

    results = at_once(
        lambda: len(vote_on_what_comes(project, ann, 70)),
        lambda: len(vote_on_what_comes(project, ben, 90)),
        lambda: back_up(archive),
    )
    assert results == [70, 90, 0]

    restored = elsewhere.manage("restore", str(archive))
    assert "Restored: 2 people, 1 projects" in restored.stdout, restored.stderr
    kept = {str(token): (choice, pair) for token, choice, pair in elsewhere.rows(VOTES)}
    assert {token.hex for token in before} <= {token.replace("-", "") for token in kept}
    stored = Assignment.objects.filter(state="voted").values_list("choice", "pair_id")
    assert set(kept.values()) <= set(stored)
    assert [row for row in elsewhere.rows(COUNTED) if row[1] != row[2]] == []
    for name in ("secret_key", "runs/1/policy/model.safetensors"):
        assert (elsewhere.home / name).read_bytes() == (home / name).read_bytes()
    assert not (elsewhere.home / "huey.sqlite3").exists()
    assert {path.stat().st_mode & 0o077 for path in (archive, elsewhere.home)} == {0}

    # What holds something is never overwritten.
    again = elsewhere.manage("restore", str(archive))
    assert again.returncode == 1
    assert "the database has users or projects" in again.stderr
    assert "Traceback" not in again.stderr


def test_checkpoints_can_be_left_out_and_models_from_elsewhere_are_named(
    home: Path, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ModelVersion.objects.create(project_id=project.pk, kind="policy", number=0, path="/models/own")
    call_command("backup", str(tmp_path), "--without-checkpoints")
    (archive,) = tmp_path.glob("pairloop-*.tar.zst")
    call_command("restore", str(archive), "--check")
    printed = capsys.readouterr().out
    assert "outside of PAIRLOOP_HOME: /models/own" in printed
    assert "A model of it lies outside: /models/own" in printed
    names = members(archive)
    assert any(name.endswith("model.safetensors") for name in names)
    assert not any("checkpoints" in name or "huey" in name for name in names)


@pytest.mark.parametrize("place", ["", "backups"])
def test_a_backup_inside_the_home_holds_no_former_one(
    home: Path, project: Project, place: str
) -> None:
    (home / place).mkdir(exist_ok=True)
    for name in ("first", "second"):
        call_command("backup", str(home / place / f"{name}.tar.zst"))
    assert not any("first" in name for name in members(home / place / "second.tar.zst"))


def members(archive: Path) -> list[str]:
    """The members' names, by a program that is not ours."""
    import zstandard

    with archive.open("rb") as file, zstandard.open(file) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as members:
            return [member.name for member in members]


@pytest.mark.parametrize("fault", ["cut", "changed", "foreign", "link", "climbing", "missing"])
def test_a_damaged_or_foreign_archive_is_refused_in_one_sentence(
    home: Path, project: Project, tmp_path: Path, fault: str
) -> None:
    whole, broken = tmp_path / "whole.tar", tmp_path / "broken.tar"
    call_command("backup", str(whole))
    content = whole.read_bytes()
    if fault == "cut":
        broken.write_bytes(content[: len(content) // 2])
    elif fault == "changed":
        place = content.index(b"sealed")
        broken.write_bytes(content[:place] + b"broken" + content[place + 6 :])
    elif fault == "foreign":
        broken.write_bytes(b"PK\x03\x04 a zip, say" * 100)
    elif fault in ("link", "climbing"):
        with tarfile.open(broken, "w") as archive:
            member = tarfile.TarInfo("home/x" if fault == "link" else "home/../../x")
            member.type = tarfile.SYMTYPE if fault == "link" else tarfile.REGTYPE
            member.linkname = "/etc/passwd"
            archive.addfile(member)
    with pytest.raises(CommandError) as refused:
        call_command("restore", str(broken), "--check")
    told = {
        "cut": "cut off",
        "changed": "home/secret_key in it is not what was stored",
        "foreign": "cut off or damaged",
        "link": "home/x in it is no plain file",
        "climbing": "leads elsewhere",
        "missing": "No such file",
    }
    assert told[fault] in str(refused.value)


def test_a_backup_never_takes_the_place_of_another_file(home: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.tar").write_text("kept")
    with pytest.raises(CommandError, match="is there already"):
        call_command("backup", str(tmp_path / "kept.tar"))
    with pytest.raises(CommandError, match="nowhere"):
        call_command("backup", str(tmp_path / "nowhere" / "new.tar"))
    assert (tmp_path / "kept.tar").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "kept.tar"]
