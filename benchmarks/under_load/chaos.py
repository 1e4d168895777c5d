"""Votes while everything is killed: none is lost, doubled, one too many or miscounted.

People vote by the REST API and send a vote again until it is acknowledged, as the page does.
Meanwhile a fault happens every second or two, drawn at random: a web process, the whole server, a
task worker (two of them run, each with its schedule) or PostgreSQL is killed with SIGKILL and
started again, the database is locked, the disk is full (SQLite: by a limit on the size of files of
the web processes; PostgreSQL: a file system of its own in memory that is filled), or the clock of
web processes and task workers jumps an hour ahead or back and returns. At the end each acknowledged
vote is looked up, and every pair's counts are compared with a recount.

PostgreSQL is a cluster of its own, made for the run and thrown away. The clock takes libfaketime
(Debian: faketime), PostgreSQL's full disk the right to mount; where one is missing, its fault is
left out, and the figures have no such row.
Options: `--databases=sqlite,postgres --seconds=60 --people=16 --pairs=20000 --seed=0`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import psycopg

from benchmarks.result import Result
from benchmarks.under_load.annotators import FILL, SLUG, Person
from benchmarks.under_load.private_postgresql import FULL, Cluster, cluster_of
from benchmarks.votes import ROOT, free_port, installation, shell, wait_until_live

LOCKED = 3.0
"""Seconds that the database stays locked."""
JUMP, JUMPED = 3600, 3.0
"""Seconds that the clock is wrong by, and seconds that it stays wrong."""
CHECK = """
import json, sys
from collections import Counter
from django.db.models import Count
from annotate.models import Assignment, Pair
with open(sys.argv[1]) as lines:
    acknowledged = [json.loads(line) for line in lines]
stored = {}
tokens = [token for token, _ in acknowledged]
for start in range(0, len(tokens), 500):
    for row in Assignment.objects.filter(token__in=tokens[start : start + 500]):
        stored[str(row.token)] = row
other = {"a": "b", "b": "a"}
lost = changed = 0
for token, choice in acknowledged:
    row = stored.get(token)
    if row is None or row.state != "voted":
        lost += 1
    elif row.choice != {"left": row.left, "right": other[row.left]}.get(choice, choice):
        changed += 1
voted = Assignment.objects.filter(state="voted")
twice = voted.values("pair", "annotator").annotate(n=Count("id")).filter(n__gt=1).count()
standing = Counter()
for pair, choice in voted.filter(surplus=False).values_list("pair", "choice"):
    standing[pair, {"both_bad": "tie"}.get(choice, choice)] += 1
leased = Counter(Assignment.objects.filter(state="reserved", surplus=False)
                 .values_list("pair", flat=True))
over = miscounted = 0
for p in Pair.objects.exclude(cast=0, open_slots=2):
    counts = [standing[p.pk, c] for c in ("a", "tie", "b")]
    over += sum(counts) > p.limit
    miscounted += counts != [p.n_a, p.n_tie, p.n_b]
    miscounted += p.state == "open" and sum(counts) + leased[p.pk] + p.open_slots != p.asked
print(json.dumps({"votes_stored": voted.count(), "acknowledged_and_not_stored": lost,
                  "stored_as_another_choice": changed, "stored_twice": twice,
                  "pairs_with_votes_over_their_limit": over, "pairs_miscounted": miscounted}))
"""


class Persistent(Person):
    """A person whose program sends a vote again until it is answered."""

    def __init__(self, port: int, seed: int, until: threading.Event, token: str) -> None:
        super().__init__(port, seed, until)
        self.headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        self.acknowledged: list[tuple[str, str]] = []
        self.answers: Counter[int] = Counter()

    def run(self) -> None:
        while not self.until.is_set():
            status, pair = self.patiently(f"/api/v1/projects/{SLUG}/next/", "{}")
            while status == 200 and pair and not self.until.is_set():
                choice = self.random.choice(["left", "right", "tie"])
                token = str(pair["assignment"])
                path = f"/api/v1/assignments/{token}/vote/?next=1"
                status, answer = self.patiently(path, json.dumps({"choice": choice}))
                if status == 200 and answer:
                    self.acknowledged.append((token, choice))
                    pair = answer["next"]
        self.connection.close()

    def patiently(self, path: str, body: str) -> tuple[int, dict[str, object] | None]:
        """The answer, however often it takes; (0, None) once the run is over."""
        while not self.until.is_set():
            try:
                answer, content = self.request("POST", path, body, self.headers)
            except (OSError, HTTPException):
                self.connection.close()
                self.answers[0] += 1
            else:
                self.answers[answer.status] += 1
                if answer.status < 500 and answer.status != 429:
                    return answer.status, json.loads(content) if content else None
            time.sleep(self.random.uniform(0.05, 0.3))
        return 0, None


class Process:
    """A process that is started again whenever it is found dead, as a service manager does."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.arguments, self.environment = arguments, environment
        self.started = 0
        self.start()

    def start(self) -> None:
        self.started += 1
        self.now = subprocess.Popen(
            self.arguments,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self) -> None:
        if self.now.poll() is not None:
            self.start()

    def kill(self) -> None:
        """End it and its children at once."""
        os.killpg(self.now.pid, signal.SIGKILL)
        self.now.wait()

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.now.pid}/task/{self.now.pid}/children")
        return [int(pid) for pid in listed.read_text().split()]


class Clock:
    """The time that processes see, by libfaketime; none where that is not installed."""

    def __init__(self, folder: Path) -> None:
        self.library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        self.offset = folder / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        # Renamed into place: a reader must not see a file that is half written.
        written = self.offset.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n", "utf-8")
        written.replace(self.offset)

    def environment(self) -> dict[str, str]:
        """The variables of processes whose time it is."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.offset),
            "FAKETIME_CACHE_DURATION": "1",
            # The monotonic clock jumps as well, which a real one never does: without it this
            # release (0.9.10) has every time.sleep of Python 3.11 fail with EINVAL.
        }

    def jump(self, draw: random.Random) -> None:
        """An hour ahead or back, and after a while right again."""
        self.set(draw.choice([-JUMP, JUMP]))
        time.sleep(JUMPED)
        self.set(0)


class Stack:
    """Server, two task workers and database of one run, and what can happen to them."""

    def __init__(self, home: str, environment: dict[str, str], cluster: Cluster | None) -> None:
        self.home, self.cluster = Path(home), cluster
        self.clock = Clock(self.home)
        port = free_port()
        told = environment | (self.clock.environment() if self.clock.library else {})
        told |= {
            "PORT": str(port),
            "PAIRLOOP_WEB_PROCESSES": "2" if cluster else "1",
        }
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
        self.port, self.server = port, Process(gunicorn, told)
        worker = [sys.executable, "manage.py", "worker"]
        self.workers = [Process(worker, told) for _ in range(2)]
        wait_until_live(port)

    def watch(self) -> None:
        for process in (self.server, *self.workers):
            process.watch()

    def faults(self) -> dict[str, Callable[[random.Random], None]]:
        """The faults, by name."""
        faults = {
            "web process": self.kill_web_process,
            "server": lambda _: self.server.kill(),
            "task worker": lambda draw: draw.choice(self.workers).kill(),
            "locked database": lambda _: self.lock(),
        }
        if self.clock.library:
            faults["clock"] = self.clock.jump
        if (cluster := self.cluster) is None:
            return faults | {"full disk": lambda _: self.fill_disk()}
        if cluster.limited:
            faults["full disk"] = lambda _: cluster.fill_disk()
        return faults | {"database": lambda _: cluster.kill()}

    def kill_web_process(self, draw: random.Random) -> None:
        if children := self.server.children():
            with suppress(ProcessLookupError):
                os.kill(draw.choice(children), signal.SIGKILL)

    def lock(self) -> None:
        """Let nobody write, or on PostgreSQL even read pairs, for a while."""
        if self.cluster:
            with psycopg.connect(self.cluster.url) as connection:
                connection.execute("LOCK TABLE annotate_pair IN ACCESS EXCLUSIVE MODE")
                time.sleep(LOCKED)
            return
        connection = sqlite3.connect(self.home / "db.sqlite3", timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(LOCKED)
        connection.execute("ROLLBACK")
        connection.close()

    def fill_disk(self) -> None:
        """Let no file of a web process grow beyond a page, as on a disk that is full."""
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        processes = self.server.children()
        for pid in processes:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        time.sleep(FULL)
        for pid in processes:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)

    def end(self) -> None:
        for process in (self.server, *self.workers):
            process.kill()


def measure(
    database: str, *, seconds: float, people: int, pairs: int, seed: int
) -> dict[str, float]:
    """Vote for so many seconds among faults, and count what went wrong."""
    draw, over = random.Random(seed), threading.Event()
    with cluster_of(database) as cluster, installation(cluster.url if cluster else "") as made:
        home, environment = made
        keys = json.loads(shell(FILL, str(pairs), str(people), environment=environment))
        stack = Stack(home, environment, cluster)
        happened: Counter[str] = Counter()
        crew = [Persistent(stack.port, i, over, token) for i, (_, token) in enumerate(keys)]
        try:
            for person in crew:
                person.start()
            faults, end = stack.faults(), time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(draw.uniform(0.5, 2.0))
                name = draw.choice(sorted(faults))
                faults[name](draw)
                happened[name] += 1
                stack.watch()
                print(f"  {database}: {name}", flush=True)
            # All that was sent is answered before it is counted.
            wait_until_live(stack.port)
            time.sleep(2)
            over.set()
            for person in crew:
                person.join()
        finally:
            over.set()
            stack.end()
        acknowledged = [vote for person in crew for vote in person.acknowledged]
        lines = Path(home, "acknowledged.jsonl")
        lines.write_text("".join(json.dumps(vote) + "\n" for vote in acknowledged), "utf-8")
        checked = json.loads(shell(CHECK, str(lines), environment=environment))
    answers = sum((person.answers for person in crew), Counter())
    return {
        "acknowledged": len(acknowledged),
        **checked,
        **{f"times_{name.replace(' ', '_')}": n for name, n in sorted(happened.items())},
        "answers_503": answers[503],
        "answers_5xx_other_than_503": sum(n for s, n in answers.items() if s >= 500 and s != 503),
        "connections_lost": answers[0],
    }


def benchmark(arguments: list[str]) -> Result:
    told = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    result = Result()
    for database in told.get("databases", "sqlite,postgres").split(","):
        counted = measure(
            database,
            seconds=float(told.get("seconds", 60)),
            people=int(told.get("people", 16)),
            pairs=int(told.get("pairs", 20_000)),
            seed=int(told.get("seed", 0)),
        )
        result.figures |= {f"{database}_{name}": float(n) for name, n in counted.items()}
    return result
