"""Voting under load: annotators without think time against a real server, over HTTP.

`python -m benchmarks votes [--annotators=32] [--pairs=1000]`, on SQLite and, when a server
answers at TEST_DATABASE_URL, on PostgreSQL. The load comes from the same cores, so rates are
lower bounds; whether every pair has exactly its votes does not depend on load.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from benchmarks.result import Result

ROOT = Path(__file__).resolve().parent.parent
SLUG = "load"
SERVER = "postgres://postgres@127.0.0.1:5432/postgres"
SETUP = """
import json, sys
from django.contrib.auth.models import User
from annotate import exchange
from annotate.models import ApiToken, Membership, Project
from annotate.models.content import completion_key
annotators, pairs = int(sys.argv[1]), int(sys.argv[2])
project = Project.objects.create(slug="load", name="Load", random_share=0.3)
question, answer = "a question of some length " * 5, "and an answer " * 50
exchange.add_prompts(project, [
    {"messages": [{"role": "user", "content": f"{i}: {question}"}]} for i in range(pairs)])
ids = [row["prompt_id"] for row in exchange.prompts(project)]
exchange.add_completions(project, [
    {"prompt_id": id, "text": f"{side} {answer}"} for id in ids for side in "ab"],
    source="load", policy="load")
exchange.add_pairs(project, [
    {"key": id, "prompt_id": id, "kind": "normal", "stream": "random", "score": float(i % 7),
     "completion_a": completion_key(id, f"a {answer}"),
     "completion_b": completion_key(id, f"b {answer}")}
    for i, id in enumerate(ids)], source="load")
tokens = []
for i in range(annotators):
    user = User.objects.create_user(f"load-{i}")
    Membership.objects.create(project=project, user=user)
    tokens.append(ApiToken.issue(user)[1])
print(json.dumps(tokens))
"""
CHECK = """
import json
from django.db.models import Count
from annotate.models import Assignment, Pair
voted = Assignment.objects.filter(state="voted", surplus=False)
wrong = 0
for pair in Pair.objects.all():
    choices = list(voted.filter(pair=pair).order_by("seq").values_list("choice", flat=True))
    classes = ["tie" if c == "both_bad" else c for c in choices]
    wanted = 2 if len(classes) > 1 and classes[0] == classes[1] else 3
    wrong += len(classes) != wanted
twice = voted.values("pair", "annotator").annotate(n=Count("id")).filter(n__gt=1).count()
print(json.dumps({"votes": voted.count(), "wrong": wrong, "twice": twice}))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def installation(url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A home folder and the environment of an empty installation on that database."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "PAIRLOOP_HOME": home,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        migrate = [sys.executable, "manage.py", "migrate", "-v", "0"]
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
        yield home, environment


def shell(code: str, *arguments: str, environment: dict[str, str]) -> str:
    """Run a piece of code with Django set up and return what it prints."""
    program = "import django; django.setup()\n" + code
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip().splitlines()[-1]


@contextmanager
def served(url: str, port: int) -> Iterator[dict[str, str]]:
    """A migrated database and a web server on it, gone afterwards."""
    with installation(url) as (_, environment):
        environment["PORT"] = str(port)
        program = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
        web = subprocess.Popen(program, cwd=ROOT, env=environment)
        try:
            wait_until_live(port)
            yield environment
        finally:
            web.terminate()
            web.wait()


def wait_until_live(port: int, path: str = "/livez") -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the web server did not start")


class Annotator(threading.Thread):
    """One person without think time: votes until the queue has nothing for them."""

    def __init__(self, port: int, token: str, seed: int) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
        self.random = random.Random(seed)
        self.latencies: list[float] = []
        self.errors = 0
        self.last_vote = 0.0

    def post(self, path: str, body: dict[str, object]) -> tuple[int, dict[str, object] | None]:
        start = time.perf_counter()
        self.connection.request("POST", f"/api/v1{path}", json.dumps(body), self.headers)
        response = self.connection.getresponse()
        content = response.read()
        self.latencies.append((time.perf_counter() - start) * 1000)
        self.errors += response.status >= 500
        return response.status, json.loads(content) if content else None

    def run(self) -> None:
        patience = 20  # nothing now may only mean that the last pairs are on other screens
        while patience:
            status, pair = self.post(f"/projects/{SLUG}/next/", {})
            if status != 200 or pair is None:
                patience -= 1
                time.sleep(0.05)
                continue
            while pair is not None:
                choice = self.random.choice(["left", "left", "right", "tie"])
                path = f"/assignments/{pair['assignment']}/vote/?next=1"
                _, answer = self.post(path, {"choice": choice})
                self.last_vote = time.perf_counter()
                pair = answer.get("next") if answer else None  # type: ignore[assignment]


def measure(name: str, url: str, annotators: int, pairs: int) -> dict[str, float]:
    port = free_port()
    with served(url, port) as environment:
        output = shell(SETUP, str(annotators), str(pairs), environment=environment)
        people = [Annotator(port, token, i) for i, token in enumerate(json.loads(output))]
        start = time.perf_counter()
        for person in people:
            person.start()
        for person in people:
            person.join()
        seconds = max(person.last_vote for person in people) - start
        check = json.loads(shell(CHECK, environment=environment))
    latencies = sorted(value for person in people for value in person.latencies)
    cuts = statistics.quantiles(latencies, n=100)
    return {
        f"{name}_votes_per_s": check["votes"] / seconds,
        f"{name}_p50_ms": cuts[49],
        f"{name}_p99_ms": cuts[98],
        f"{name}_votes": check["votes"],
        f"{name}_pairs_with_wrong_votes": check["wrong"],
        f"{name}_pairs_voted_twice_by_one": check["twice"],
        f"{name}_server_errors": sum(person.errors for person in people),
    }


@contextmanager
def postgres_database() -> Iterator[str | None]:
    """A database of its own on the server, or None when no server answers."""
    server = os.environ.get("TEST_DATABASE_URL", SERVER)
    try:
        connection = psycopg.connect(server, autocommit=True, connect_timeout=3)
    except psycopg.Error:
        yield None
        return
    name = f"pairloop_bench_{os.getpid()}"
    with connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server.rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    annotators, pairs = int(options.get("annotators", 32)), int(options.get("pairs", 1000))
    result = Result()
    result.figures |= measure("sqlite", "", annotators, pairs)
    with postgres_database() as url:
        if url is None:
            print("PostgreSQL does not answer; only SQLite was measured")
        else:
            result.figures |= measure("postgres", url, annotators, pairs)
    return result
