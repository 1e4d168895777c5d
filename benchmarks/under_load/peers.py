"""Pairloop beside Label Studio and Potato in one run: votes a second of many annotators at once.

Each system is installed from its packages into an environment of its own (var/bench/peers), filled
with the same pairs, which want three votes, and served on loopback: Label Studio on PostgreSQL by
gunicorn with two processes of eight threads, Potato by one process of eight threads (it keeps its
state in memory), Pairloop on PostgreSQL with two processes of eight threads and a worker. Each
annotator does what the system's own page does, without think time: a vote and the next pair are one
cycle.

Options: `--people=32 --pairs=2000 --seconds=10`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from benchmarks.result import Result
from benchmarks.under_load.annotators import FILL, Browser, Person, several
from benchmarks.votes import free_port, postgres_database, served, shell, wait_until_live

HOME = Path(os.environ.get("PAIRLOOP_HOME", "var"))
PINS = {
    "label_studio": ("label-studio==1.23.2", "gunicorn==23.0.0"),
    "potato": ("potato-annotation==2.12.1", "gunicorn==23.0.0"),
}
QUESTION, ANSWER = "a question of some length " * 5, "and an answer " * 50
Crew = list[Person]


def environment(name: str) -> Path:
    """The Python of a peer's own environment; it is made on first use."""
    folder = (HOME / "bench" / "peers" / name).resolve()
    ready, python = folder / "ready", folder / "bin" / "python"
    if not ready.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PINS[name]], check=True)
        ready.write_text("\n".join(PINS[name]), "utf-8")
    return python


class Cycle(Person):
    """A vote and what brings the next pair, timed as one."""

    def cycle(self, votes: Callable[[], bool]) -> bool:
        """True if the vote was stored."""
        start = time.perf_counter()
        stored = votes()
        now = time.perf_counter()
        if stored:
            self.votes.append((now, (now - start) * 1000))
        return stored

    def post(self, path: str, body: object, headers: dict[str, str]) -> tuple[int, bytes]:
        answer, content = self.request("POST", path, json.dumps(body), headers)
        return answer.status, content


# Label Studio

LABEL_STUDIO_FILL = """
import json, sys
import django
django.setup()
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from importlib import import_module
from django.conf import settings
SessionStore = import_module(settings.SESSION_ENGINE).SessionStore
from organizations.models import Organization
from projects.models import Project
from tasks.models import Task
from users.models import User
people, pairs, question, answer = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
config = (
    '<View><Text name="prompt" value="$prompt"/><Pairwise name="pw" toName="a,b"/>'
    '<Text name="a" value="$a"/><Text name="b" value="$b"/></View>'
)
admin = User.objects.create_user("admin@example.org", "unused-password-1")
home = Organization.create_organization(created_by=admin, title="Load")
admin.active_organization = home
admin.save()
project = Project.objects.create(title="Load", label_config=config, created_by=admin,
                                 organization=home, maximum_annotations=3)
Task.objects.bulk_create(
    [Task(project=project, overlap=3, inner_id=i,
          data={"prompt": question, "a": f"a {answer}{i}", "b": f"b {answer}{i}"})
     for i in range(pairs)], batch_size=500)
keys = []
for i in range(people):
    user = User.objects.create_user(f"load-{i}@example.org", "unused-password-1")
    home.add_user(user)
    user.active_organization = home
    user.save()
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session["last_login"] = __import__("time").time()
    session["keep_me_logged_in"] = True
    session.save()
    keys.append(session.session_key)
print(json.dumps({"project": project.pk, "keys": keys}))
"""


class LabelStudioAnnotator(Cycle):
    """`next` and a POST of the annotation, as its labelling stream does."""

    def __init__(
        self, port: int, seed: int, until: threading.Event, key: str, project: int
    ) -> None:
        super().__init__(port, seed, until)
        form = secrets.token_hex(16)
        self.project = project
        self.headers = {
            "Cookie": f"sessionid={key}; csrftoken={form}",
            "X-CSRFToken": form,
            "Content-Type": "application/json",
        }

    def run(self) -> None:
        task = self.following()
        while task and not self.until.is_set():
            asked = {"task": task}

            def votes(asked: dict[str, int] = asked) -> bool:
                side = self.random.choice(["left", "right"])
                said = {"from_name": "pw", "to_name": "pw", "type": "pairwise"}
                body = {"result": [said | {"value": {"selected": side}}], "lead_time": 2.5}
                path = f"/api/tasks/{asked['task']}/annotations/?project={self.project}"
                status, _ = self.post(path, body, self.headers)
                asked["task"] = self.following()
                return status == 201

            self.cycle(votes)
            task = asked["task"]

    def following(self) -> int:
        path = f"/api/projects/{self.project}/next"
        answer, content = self.request("GET", path, headers=self.headers)
        return int(json.loads(content)["id"]) if answer.status == 200 else 0


@contextmanager
def label_studio(people: int, pairs: int, until: threading.Event) -> Iterator[Crew]:
    """Its annotators, with a server that they may ask."""
    python, port = environment("label_studio"), free_port()
    (package,) = python.parent.parent.glob("lib/python*/site-packages/label_studio")
    with postgres_database() as url, tempfile.TemporaryDirectory() as home:
        if not url:
            raise RuntimeError("PostgreSQL does not answer")
        at = urlsplit(url)
        told = {
            "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
            "DJANGO_DB": "default",
            "POSTGRE_NAME": at.path.strip("/"),
            "POSTGRE_USER": at.username or "postgres",
            "POSTGRE_PASSWORD": at.password or "",
            "POSTGRE_HOST": at.hostname or "127.0.0.1",
            "POSTGRE_PORT": str(at.port or 5432),
            "LABEL_STUDIO_BASE_DATA_DIR": home,
            "SECRET_KEY": secrets.token_hex(32),
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "DEBUG": "false",
            "PYTHONPATH": str(package),
        }
        environ = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"} | told
        quiet = {"cwd": package, "env": environ, "stderr": subprocess.DEVNULL}
        migrate = [str(python), "manage.py", "migrate", "-v", "0"]
        subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL, **quiet)  # type: ignore[call-overload]
        fill = [str(python), "-c", LABEL_STUDIO_FILL, str(people), str(pairs), QUESTION, ANSWER]
        done = subprocess.run(fill, check=True, stdout=subprocess.PIPE, text=True, **quiet)  # type: ignore[call-overload]
        made = json.loads(done.stdout.strip().splitlines()[-1])
        with gunicorn(python, port, "core.wsgi", processes=2, cwd=package, environ=environ):
            yield [
                LabelStudioAnnotator(port, seed, until, key, made["project"])
                for seed, key in enumerate(made["keys"])
            ]


# Potato

SHOWN = re.compile(rb'name="instance_id"[^>]*value="([^"]+)"|id="instance_id"[^>]*value="([^"]+)"')


class PotatoAnnotator(Cycle):
    """The save, the step on and the page anew, as its annotation.js does."""

    def run(self) -> None:
        who = urlencode({"email": f"load-{id(self)}", "pass": "", "action": "login"})
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer, _ = self.request("POST", "/auth", who, form)
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        headers = {"Cookie": cookie, "Content-Type": "application/json"}
        shown = self.page(headers)
        while shown and not self.until.is_set():
            asked = {"shown": shown}

            def votes(asked: dict[str, str] = asked) -> bool:
                vote = {"better:selection": self.random.choice(["A", "B", "tie"])}
                body = {"instance_id": asked["shown"], "annotations": vote, "span_annotations": []}
                status, _ = self.post("/updateinstance", body, headers)
                step = {"action": "next_instance", "instance_id": asked["shown"]}
                self.post("/annotate", step, headers | {"X-Potato-Navigation": "1"})
                asked["shown"] = self.page(headers)
                return status == 200

            self.cycle(votes)
            shown = "" if asked["shown"] == shown else asked["shown"]

    def page(self, headers: dict[str, str]) -> str:
        _, content = self.request("GET", "/annotate", headers={"Cookie": headers["Cookie"]})
        match = SHOWN.search(content)
        return (match[1] or match[2]).decode() if match else ""


@contextmanager
def potato(people: int, pairs: int, until: threading.Event) -> Iterator[Crew]:
    """Its annotators, with a server that they may ask."""
    python, port = environment("potato"), free_port()
    with tempfile.TemporaryDirectory() as home:
        rows = ({"id": str(i), "text": [f"a {ANSWER}{i}", f"b {ANSWER}{i}"]} for i in range(pairs))
        Path(home, "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
        config = {
            "annotation_task_name": "Load",
            "task_dir": home,
            "output_annotation_dir": f"{home}/out",
            "data_files": [f"{home}/pairs.jsonl"],
            "item_properties": {"id_key": "id", "text_key": "text"},
            "max_annotations_per_user": pairs,
            "max_annotations_per_item": 3,
            "assignment_strategy": "fixed_order",
            "require_password": False,
            "user_config": {"allow_all_users": True, "users": []},
            "annotation_schemes": [
                {
                    "annotation_type": "pairwise",
                    "name": "better",
                    "description": QUESTION,
                    "mode": "binary",
                    "items_key": "text",
                    "allow_tie": True,
                }
            ],
        }
        # JSON is YAML.
        Path(home, "config.yaml").write_text(json.dumps(config), "utf-8")
        factory = f"potato.flask_server:create_app('{home}/config.yaml')"
        with gunicorn(python, port, factory, processes=1, cwd=Path(home), environ=dict(os.environ)):
            yield [PotatoAnnotator(port, seed, until) for seed in range(people)]


# Pairloop


@contextmanager
def pairloop(people: int, pairs: int, until: threading.Event) -> Iterator[Crew]:
    """Its annotators, with a server that they may ask and a worker beside it."""
    port = free_port()
    with postgres_database() as url, several(2):
        if not url:
            raise RuntimeError("PostgreSQL does not answer")
        with served(url, port) as environ:
            fill = FILL + "Pair.objects.update(wanted=3, limit=3, asked=3, open_slots=3)\n"
            keys = json.loads(shell(fill, str(pairs), str(people), environment=environ))
            program = [sys.executable, "manage.py", "worker"]
            worker = subprocess.Popen(program, env=environ, stderr=subprocess.DEVNULL)
            try:
                yield [Browser(port, seed, until, key) for seed, key in enumerate(keys)]
            finally:
                worker.terminate()
                worker.wait()


# The run


@contextmanager
def gunicorn(
    python: Path, port: int, app: str, *, processes: int, cwd: Path, environ: dict[str, str]
) -> Iterator[None]:
    """A server with eight threads in each process."""
    bound = ["-b", f"127.0.0.1:{port}", "-w", str(processes), "--threads", "8", "-t", "120"]
    program = [str(python), "-m", "gunicorn", *bound, app]
    server = subprocess.Popen(
        program, cwd=cwd, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until_live(port, "/")
        yield
    finally:
        server.terminate()
        server.wait()


SYSTEMS = {"pairloop": pairloop, "label_studio": label_studio, "potato": potato}


def rate(name: str, *, people: int, pairs: int, seconds: float) -> dict[str, float]:
    """Votes a second of one system, and milliseconds from a vote to the next pair."""
    over = threading.Event()
    with SYSTEMS[name](people, pairs, over) as crew:
        for person in crew:
            person.start()
        time.sleep(4)  # the first requests of processes and people
        began = time.perf_counter()
        while time.perf_counter() < began + seconds and any(one.is_alive() for one in crew):
            time.sleep(0.05)
        ended = time.perf_counter()
        over.set()
        for person in crew:
            person.join()
    took = [ms for one in crew for at, ms in one.votes if began <= at <= ended]
    if len(took) < 2:
        raise RuntimeError(f"{name} stored {len(took)} votes: too few to tell anything")
    cuts = statistics.quantiles(took, n=100)
    errors = float(sum(one.errors for one in crew))
    return {
        "votes_per_s": len(took) / (ended - began),
        "p50_ms": cuts[49],
        "p99_ms": cuts[98],
        "server_errors": errors,
    }


def benchmark(arguments: list[str]) -> Result:
    """Run the three after each other, twice, and print the means and the ratios."""
    told = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    people, pairs = int(told.get("people", 32)), int(told.get("pairs", 2000))
    seconds = float(told.get("seconds", 10))
    result = Result()
    for name in SYSTEMS:
        environment(name) if name in PINS else None
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    for turn in (1, 2):
        for name, of in rounds.items():
            of.append(rate(name, people=people, pairs=pairs, seconds=seconds))
            print(f"turn {turn}: {name} {of[-1]['votes_per_s']:.1f} votes a second", flush=True)
    for name, of in rounds.items():
        for key in of[0]:
            result.figures[f"{name}_{key}"] = statistics.fmean(one[key] for one in of)
    for name in PINS:
        ratios = [
            ours["votes_per_s"] / theirs["votes_per_s"]
            for ours, theirs in zip(rounds["pairloop"], rounds[name], strict=True)
        ]
        result.figures[f"times_{name}"] = statistics.fmean(ratios)
        result.intervals[f"times_{name}"] = (min(ratios), max(ratios))
    return result
