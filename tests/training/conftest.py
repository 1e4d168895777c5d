"""What the tests of the loop share: a run with a fake training program."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Assignment, Pair, Project
from tests.training import fake_endpoint
from training.models import Plan, Round, Run
from training.rounds import start_and_cancel
from training.runs import supervisor, task_queue
from training.runs.supervisor import Pace
from training.versions import promotion

FAKE_ENGINE = Path("tests/training/fake_engine.py")
PATIENCE = 180.0
"""Seconds for what takes a few: what comes is not waited for, however slow the machine."""
QUICK = Pace(beat=0.2, poll=0.02, cancel_grace=5.0, stop_grace=5.0, pause=0.0)


def fake_program(run: Run) -> list[str]:
    return [
        sys.executable,
        str(django_settings.BASE_DIR / FAKE_ENGINE),
        "round",
        str(run.directory),
        str(run.fence),
    ]


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.HOME = tmp_path
    settings.MIN_FREE_GB = 0.0
    return tmp_path


@pytest.fixture
def voted(project: Project, make_pairs: Callable[..., Any], ann: User, ben: User) -> Project:
    """The project with two equal votes on each of 50 pairs."""
    with transaction.atomic():
        vote_on(make_pairs(50), ann, ben)
    return project


def vote_on(pairs: list[Pair], *people: User, choice: str = "a") -> None:
    """Give every pair a vote for A, or the other side, by each person, and resolve it."""
    now = timezone.now()
    Assignment.objects.bulk_create(
        Assignment(
            pair=pair,
            annotator=person,
            state=Assignment.State.VOTED,
            left="a",
            stream="random",
            leased_at=now,
            choice=choice,
            strength=2,
            voted_at=now,
            acted_at=now,
            seq=seq,
        )
        for pair in pairs
        for seq, person in enumerate(people, start=1)
    )
    Pair.objects.filter(pk__in=[pair.pk for pair in pairs]).update(
        state=Pair.State.RESOLVED,
        open_slots=0,
        cast=len(people),
        resolved_at=now,
        **{f"n_{choice}": len(people)},
    )


@pytest.fixture
def a_round(voted: Project, home: Path, transactional_db: None) -> Round:
    """A queued round of the project, with a starter, which a model promotes; nobody was told."""
    Project.objects.filter(pk=voted.pk).update(promotion="auto")
    voted.refresh_from_db()
    (home / "starter").mkdir()
    promotion.adopt_starter(voted, "starter")
    Plan.objects.create(project=voted)
    return start_and_cancel.start_round(voted, enqueue=False)


@pytest.fixture
def run(a_round: Round) -> Run:
    return Run.objects.get(round=a_round)


@pytest.fixture
def behave(run: Run) -> Callable[..., None]:
    """behave(pause=..., kill=...): how the fake program of `run` acts."""

    def write(**how: Any) -> None:
        run.directory.mkdir(parents=True, exist_ok=True)
        (run.directory / "behaviour.json").write_text(json.dumps(how))

    return write


@pytest.fixture
def supervise() -> Callable[..., Run]:
    """supervise(run): see it through here with the fake program, and return the row."""

    def see_through(run: Run, *, pace: Pace = QUICK) -> Run:
        supervisor.supervise(run, program=fake_program, pace=pace)
        run.refresh_from_db()
        return run

    return see_through


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> Iterator[None]:
    """Nobody asked to stop yet, and no connection to another test's queue is left."""
    supervisor.stopping.clear()
    yield
    task_queue.close()


class Spawned(subprocess.Popen[bytes]):
    """A process whose output goes to a file."""

    log: Path

    def finish(self) -> tuple[int, str]:
        """Wait for its end: exit code and output."""
        code = self.wait(timeout=PATIENCE)
        return code, self.log.read_text()


@pytest.fixture
def spawn(home: Path, transactional_db: None) -> Iterator[Callable[..., Spawned]]:
    """spawn("worker", "--gpu"): a real manage.py process on the test's database and home.

    With tree=FOLDER it is that of another copy of the code. Its training program is the fake one.
    Whatever is left at the end of the test is killed.
    """
    started: list[Spawned] = []

    def start(*arguments: str, tree: Path = django_settings.BASE_DIR) -> Spawned:
        log = home / f"output-{len(started)}.txt"
        with log.open("wb") as output:
            process = Spawned(
                [sys.executable, "manage.py", *arguments],
                cwd=tree,
                env={**os.environ, **environment(home, tree)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        process.log = log
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        print(process.log.read_text())


@pytest.fixture
def command(
    home: Path, settings: Settings, transactional_db: None
) -> Callable[..., tuple[int, str]]:
    """command("quickstart", "--seed", "3"): exit code and output of a command in this process.

    Where the process is not what is tested: a new one loads the product first, which takes longer
    than most commands. Its training program is the fake one, too.
    """
    settings.LAUNCHER = f"{sys.executable} {django_settings.BASE_DIR / FAKE_ENGINE}"

    def call(*arguments: str) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command(*arguments, stdout=out)
        except CommandError as error:
            return error.returncode, f"{out.getvalue()}CommandError: {error}"
        except SystemExit as end:
            return int(end.code or 0), out.getvalue()
        return 0, out.getvalue()

    return call


def environment(home: Path, tree: Path = django_settings.BASE_DIR) -> dict[str, str]:
    """Settings of another process that shares the test's database and home."""
    config = connection.settings_dict
    url = f"sqlite:///{config['NAME']}"
    if connection.vendor == "postgresql":
        who = f"{config['USER']}:{config['PASSWORD']}@" if config["USER"] else ""
        url = f"postgres://{who}{config['HOST']}:{config['PORT'] or 5432}/{config['NAME']}"
    return {
        "DATABASE_URL": url,
        "PAIRLOOP_HOME": str(home),
        "PAIRLOOP_LAUNCHER": f"{sys.executable} {tree / FAKE_ENGINE}",
        "PAIRLOOP_MIN_FREE_GB": "0",
        "SECRET_KEY": django_settings.SECRET_KEY,
    }


def trace(run: Run) -> list[list[str]]:
    """[pid, stage, step] of every step that was worked on."""
    path = run.directory / "trace.txt"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def never_two_writers(run: Run) -> bool:
    """Whether no process worked again after another one had begun."""
    pids = [pid for pid, _, _ in trace(run)]
    changes = sum(one != other for one, other in itertools.pairwise(pids))
    return changes == len(set(pids)) - 1


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def queries(client: Client, url: str) -> int:
    """How many queries a page takes."""
    # The first request of a session reads who it is by more statements than later ones.
    client.get(url)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(url).status_code == 200
    return len(seen)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_endpoint.Server]:
    """A server of chat completions on this machine; a client asks again at once."""
    monkeypatch.setattr("training.rlhf.completions.openai_endpoint.FIRST_WAIT", 0.01)
    with fake_endpoint.running() as running:
        yield running
