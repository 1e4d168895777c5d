"""Many annotators at once against a real server: browsers with sessions, and scripts with tokens.

A browser does what `static/js` does: the page, the pair after it, and then one POST per vote, whose
answer brings the next pair. A script votes by the REST API with `?next=1`. Nobody thinks, so rates
are what the server can bear. The load comes from the same cores: CPU milliseconds per vote of the
web processes and of PostgreSQL are figures that other work disturbs less; the cores that other work
took meanwhile are told beside them.
Options: `--people=1,8,32,128 --pairs=1000 --doors=browser,api --databases=sqlite,postgres
--processes=1 --seconds=15`.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import psycopg

from benchmarks.pages import SETUP
from benchmarks.result import Result
from benchmarks.votes import free_port, postgres_database, served, shell

SLUG = "many"
PAGE = f"/projects/{SLUG}/label/"
WARM_UP = 3.0
"""Seconds before anything is counted: processes and connections make their plans and caches."""
# The project and the helpers that fill tables, without the pages' own rows.
FILL = (
    SETUP.partition("now = ")[0]
    + """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from annotate.models import ApiToken, Pair
now = "CURRENT_TIMESTAMP"
question, answer = "a question of some length " * 5, "and an answer " * 50
chat = json.dumps([{"role": "user", "content": question}])
insert("annotate_prompt", "n", id="i", project_id="@project", sha256="CAST(i AS text)",
       messages=f"'{chat}'", created_at=now, held_out="FALSE")
for side in (0, 1):
    insert("annotate_completion", "n", id=f"2 * i - {side}", prompt_id="i",
           text=f"'{'ab'[side]} {answer}' || i", sha256=f"CAST({side} AS text)", source="'load'",
           created_at=now)
insert("annotate_pair", "n", id="i", project_id="@project", prompt_id="i", key="CAST(i AS text)",
       completion_a_id="2 * i", completion_b_id="2 * i - 1", priority="i % 7",
       shuffle="(CAST(i AS bigint) * 7919 % @pairs) * 1.0 / @pairs", created_at=now,
       firsts_simulated="FALSE")
Project.objects.update(random_share=0.3)
keys = []
for i in range(int(sys.argv[2])):
    user = User.objects.create_user(f"load-{i}")
    Membership.objects.create(project=project, user=user)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    keys.append((session.session_key, ApiToken.issue(user)[1]))
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
print(json.dumps(keys))
"""
)
CHECK = """
import json
from django.db.models import Count
from annotate.models import Assignment, Pair
voted = Assignment.objects.filter(state="voted")
twice = voted.values("pair", "annotator").annotate(n=Count("id")).filter(n__gt=1).count()
counted = sum(a + b + t for a, b, t in
              Pair.objects.exclude(cast=0).values_list("n_a", "n_b", "n_tie"))
standing = voted.filter(surplus=False).count()
print(json.dumps({"stored": voted.count(), "twice": twice, "miscounted": abs(counted - standing)}))
"""
TOKEN = re.compile(rb'data-token="([^"]*)"')
FORM_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]*)"')


class Person(threading.Thread):
    """One person without think time, who votes until the time is over or nothing is left."""

    def __init__(self, port: int, seed: int, until: threading.Event) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.random = random.Random(seed)
        self.until = until
        self.votes: list[tuple[float, float]] = []
        """Of each acknowledged vote, when it was and how many milliseconds it took."""
        self.errors = 0

    def request(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request(method, path, body or None, headers or {})
        answer = self.connection.getresponse()
        content = answer.read()
        self.errors += answer.status >= 500
        return answer, content

    def timed(self, path: str, body: str, headers: dict[str, str]) -> tuple[int, bytes]:
        """A vote, which counts when it is acknowledged."""
        start = time.perf_counter()
        answer, content = self.request("POST", path, body, headers)
        now = time.perf_counter()
        if answer.status == 200:
            self.votes.append((now, (now - start) * 1000))
        return answer.status, content


class Browser(Person):
    """A session, its form token, and the requests of the labelling page."""

    def __init__(self, port: int, seed: int, until: threading.Event, key: tuple[str, str]) -> None:
        super().__init__(port, seed, until)
        self.cookie = f"sessionid={key[0]}"

    def run(self) -> None:
        answer, page = self.request("GET", PAGE, headers={"Cookie": self.cookie})
        said = answer.getheader("Set-Cookie") or ""
        self.cookie += f"; {said.strip().partition(';')[0]}"
        shown, form = _first(TOKEN, page), _first(FORM_TOKEN, page)
        headers = {
            "Cookie": self.cookie,
            "HX-Request": "true",
            "HX-Current-URL": f"http://127.0.0.1{PAGE}",
            "X-CSRFToken": form,
            "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8",
        }
        _, ahead = self.request("GET", f"{PAGE}?after={shown}", headers=headers)
        following = _first(TOKEN, ahead)
        while shown and not self.until.is_set():
            body = self.form(form, following)
            status, screen = self.timed(f"{PAGE}{shown}/vote/", body, headers)
            shown, following = following, _first(TOKEN, screen) if status == 200 else ""

    def form(self, token: str, after: str) -> str:
        vote = {"csrfmiddlewaretoken": token, "last": "", "scale": "seven"}
        times = {"active_ms": "2500", "first_key_ms": "900", "wall_ms": "2600", "input": "key"}
        key = self.random.choice("1245677")
        return urlencode(vote | {"vote": key} | times | {"after": after})


class Script(Person):
    """A token, and the calls of the REST API."""

    def __init__(self, port: int, seed: int, until: threading.Event, key: tuple[str, str]) -> None:
        super().__init__(port, seed, until)
        self.headers = {"Authorization": f"Token {key[1]}", "Content-Type": "application/json"}

    def run(self) -> None:
        _, content = self.request("POST", f"/api/v1/projects/{SLUG}/next/", "{}", self.headers)
        pair = json.loads(content) if content else None
        while pair and not self.until.is_set():
            path = f"/api/v1/assignments/{pair['assignment']}/vote/?next=1"
            vote = json.dumps({"choice": self.random.choice(["left", "left", "right", "tie"])})
            status, content = self.timed(path, vote, self.headers)
            pair = json.loads(content)["next"] if status == 200 else None


DOORS: dict[str, type[Browser | Script]] = {"browser": Browser, "api": Script}


def _first(pattern: re.Pattern[bytes], page: bytes) -> str:
    match = pattern.search(page)
    return match[1].decode() if match else ""


class CpuSeconds:
    """CPU seconds so far of the web processes, of PostgreSQL's backends, and of the machine."""

    def __init__(self, web: int, url: str) -> None:
        self.web, self.url = web, url

    def now(self) -> tuple[float, float, float]:
        web = sum(map(_cpu, [self.web, *_children(self.web)]))
        backends = sum(map(_cpu, _backends(self.url))) if self.url else 0.0
        return web, backends, _busy()


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def _backends(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return [pid for (pid,) in rows]


def _busy() -> float:
    """CPU seconds that the machine was not idle or waiting for a disk."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def web_process(port: int) -> int:
    """The server that listens on a port: the parent, where it has several processes."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and f"PORT={port}\0" in (entry / "environ").read_text():
                return int(entry.name)
        except OSError:
            continue
    raise RuntimeError("the web server was not found")


@contextmanager
def several(processes: int) -> Iterator[None]:
    """Web processes of the server that is started within."""
    before = os.environ.get("PAIRLOOP_WEB_PROCESSES")
    os.environ["PAIRLOOP_WEB_PROCESSES"] = str(processes)
    try:
        yield
    finally:
        os.environ.pop("PAIRLOOP_WEB_PROCESSES")
        if before is not None:
            os.environ["PAIRLOOP_WEB_PROCESSES"] = before


def measure(
    url: str, door: str, *, people: int, pairs: int, processes: int, seconds: float
) -> dict[str, float]:
    """One cell: its own database and server."""
    port = free_port()
    with several(processes if url else 1), served(url, port) as environment:
        keys = json.loads(shell(FILL, str(pairs), str(people), environment=environment))
        over = threading.Event()
        everybody = [DOORS[door](port, i, over, key) for i, key in enumerate(keys)]
        cpu = CpuSeconds(web_process(port), url)
        for person in everybody:
            person.start()
        time.sleep(WARM_UP)
        began, own, before = time.perf_counter(), time.process_time(), cpu.now()
        while time.perf_counter() < began + seconds and any(p.is_alive() for p in everybody):
            time.sleep(0.05)
        after, ended = cpu.now(), time.perf_counter()
        client = time.process_time() - own
        over.set()
        for person in everybody:
            person.join()
        check = json.loads(shell(CHECK, environment=environment))
    every = [vote for person in everybody for vote in person.votes]
    took = sorted(ms for at, ms in every if began <= at <= ended)
    if len(took) < 2:
        raise RuntimeError("too few votes to tell anything: more pairs or more seconds")
    cuts = statistics.quantiles(took, n=100)
    web, backends, busy = (late - early for late, early in zip(after, before, strict=True))
    lasted = ended - began
    return {
        "votes_per_s": len(took) / lasted,
        "p50_ms": cuts[49],
        "p95_ms": cuts[94],
        "p99_ms": cuts[98],
        "web_cpu_ms_per_vote": 1000 * web / len(took),
        "postgres_cpu_ms_per_vote": 1000 * backends / len(took),
        "client_cpu_ms_per_vote": 1000 * client / len(took),
        "cores_of_other_work": max(0.0, (busy - web - backends - client) / lasted),
        "acknowledged_and_not_stored": max(0, len(every) - check["stored"]),
        "stored_twice": check["twice"],
        "pairs_miscounted": check["miscounted"],
        "server_errors": sum(person.errors for person in everybody),
    }


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    people = [int(each) for each in options.get("people", "1,8,32,128").split(",")]
    sizes = [int(each) for each in options.get("pairs", "1000").split(",")]
    doors = options.get("doors", "browser,api").split(",")
    processes, seconds = int(options.get("processes", 1)), float(options.get("seconds", 15))
    result = Result()
    for database in options.get("databases", "sqlite,postgres").split(","):
        for pairs in sizes:
            for door in doors:
                for each in people:
                    with postgres_database() if database == "postgres" else no_server() as url:
                        if url is None:
                            print("PostgreSQL does not answer; it was not measured")
                            continue
                        cell = measure(
                            url,
                            door,
                            people=each,
                            pairs=pairs,
                            processes=processes,
                            seconds=seconds,
                        )
                    name = f"{database}_{door}_{pairs}_pairs_{each}_people"
                    result.figures |= {f"{name}_{key}": value for key, value in cell.items()}
    return result


@contextmanager
def no_server() -> Iterator[str]:
    """The address of SQLite's default database."""
    yield ""
