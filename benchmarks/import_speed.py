"""Imports: pairs per CPU second, memory, and how long they keep people from voting.

`python -m benchmarks import_speed [--pairs=20000] [--votes=2] [--databases=sqlite,postgres]
[--steps=check,file,again,storage,long,exports]`, on SQLite and, when a server answers at
TEST_DATABASE_URL, on PostgreSQL. `check` is the first pass over JSON lines of pairs with their
votes, `file` both passes, `again` the same file once more, `storage` the same rows from memory into
another project, `long` a table of one row per vote, `exports` (not by default) the exports `votes`
and `parquet` of what `file` imported, each by a process of its own. `--votes=3.3333334` is 3 on
some pairs and 4 on others. CPU is that of our process, which on SQLite is also the database's.
Beside it another process votes all the time, in a project of its own: the figures `vote_` are its
seconds per vote, `writer_` those that it waited for SQLite's one writer, `quiet_` the same before
the import began.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.export_speed import WRITE
from benchmarks.result import Result
from benchmarks.votes import ROOT, postgres_database, shell

MEASURE = """
import json, resource, sys, tempfile, time
from django.utils import timezone
from annotate.importing import import_rows, two_passes
from annotate.importing.import_report import Report
from annotate.importing.row_store import Writer
from annotate.importing.imported_row import Comparison, Judgement, Reply, Row
from annotate.models import Project
pairs, votes, steps = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3].split(",")
def people(i):
    return [f"rater {j}" for j in range(int((i + 1) * votes) - int(i * votes))]
def texts(i):
    return (f"What should I do about order {i}? It is a week late and nobody answers me.",
            f"Order {i} left our house on Monday; I ask the carrier and write again tomorrow.",
            f"I cannot find order {i}. Did you write the number down as it stands in the mail?")
def choice(i, j):
    return "tie" if i % 7 == 0 else "ab"[(i * 31 + j * (i % 4 == 0)) % 2]
def as_file():
    file = tempfile.TemporaryFile()
    for i in range(pairs):
        ask, a, b = texts(i)
        said = {name: choice(i, j) for j, name in enumerate(people(i))}
        row = {"prompt": ask, "completion_a": a, "completion_b": b, "model_a": "m1",
               "model_b": f"m{2 + i % 9}", "votes": said}
        file.write(json.dumps(row).encode() + b"\\n")
    return file
def rows(each):
    for i in range(pairs):
        ask, a, b = texts(i)
        said = [Judgement(choice(i, j), name) for j, name in enumerate(people(i))]
        for part in ([one] for one in said) if each else [said]:
            yield Row(messages=[{"role": "user", "content": ask}],
                      replies=[Reply(a, "m1"), Reply(b, f"m{2 + i % 9}")],
                      comparisons=[Comparison(0, 1, part)])
figures = {}
def measured(name, work):
    began, before = time.perf_counter(), time.process_time()
    n = work()
    figures[f"{name}_per_cpu_s"] = n / (time.process_time() - before)
    figures[f"{name}_wall_s"] = time.perf_counter() - began
def from_memory(project, each):
    writer = Writer(project, now=timezone.now())
    batch = []
    for row in rows(each):
        batch.append(row)
        if len(batch) == 1000:
            writer.add(batch)
            batch = []
    writer.add(batch)
    assert writer.added["votes"] == int(pairs * votes)
    return int(pairs * votes) if each else pairs
def checked(project, file):
    source = two_passes.Source(file, "pairs.jsonl", {})
    told = {"judged": "labels", "report": Report(), "progress": lambda rows, share: None}
    return two_passes.check(project, source, **told).report.added["pairs"]
projects = [Project.objects.create(slug=f"p{i}", name="P") for i in range(3)]
file = as_file()
STEPS = {
    "check": ("check_pairs", lambda: checked(projects[0], file)),
    "file": ("file_pairs", lambda: import_rows(projects[0], file).added["pairs"]),
    "again": ("same_file_again_pairs", lambda: import_rows(projects[0], file).accepted),
    "storage": ("storage_pairs", lambda: from_memory(projects[1], False)),
    "long": ("long_table_rows", lambda: from_memory(projects[2], True)),
}
for step in steps:
    if step in STEPS:
        measured(*STEPS[step])
figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(figures))
"""
FREEZE = """
from annotate.exporting.freezing import freeze
from annotate.models import Project
from annotate.statements.statement_timeout import unhurried
with unhurried():
    print(freeze(Project.objects.get(slug="p0")).n_votes)
"""
VOTE = """
import json, statistics, sys, time
from pathlib import Path
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from annotate import queue
from annotate.importing.imported_row import Comparison, Reply, Row
from annotate.importing.row_store import Writer
from annotate.models import Membership, Project
begun, done = Path(sys.argv[1]), Path(sys.argv[2])
project = Project.objects.create(slug="voters", name="Voters")
Writer(project, now=timezone.now()).add([
    Row(messages=[{"role": "user", "content": f"Question {i}?"}],
        replies=[Reply("Yes."), Reply("No.")], comparisons=[Comparison(0, 1)])
    for i in range(500)])
times = {"vote": [], "writer": []}
def timed(execute, sql, *rest):
    start = time.perf_counter()
    try:
        return execute(sql, *rest)
    finally:
        if sql.startswith("BEGIN"):
            times["writer"].append(time.perf_counter() - start)
def people():
    for n in range(1_000_000):
        user = User.objects.create_user(f"voter-{n}")
        Membership.objects.create(project=project, user=user)
        # They vote, undo and vote again, so that there is always something to vote on.
        for _ in range(50):
            yield user
def one_vote(user):
    lease = queue.next_pair(project, user)
    start = time.perf_counter()
    result = queue.vote(user, lease.token, choice="a")
    times["vote"].append(time.perf_counter() - start)
    queue.undo_token(user, lease.token)
    queue.skip(user, lease.token)
figures = {}
def keep(prefix):
    for name, seconds in times.items():
        if len(seconds) > 1:
            figures[f"{prefix}{name}_p99_s"] = statistics.quantiles(seconds, n=100)[98]
            figures[f"{prefix}{name}_worst_s"] = max(seconds)
        seconds.clear()
with connection.execute_wrapper(timed):
    for n, user in enumerate(people()):
        one_vote(user)
        time.sleep(0.01)
        if n == 200:
            keep("quiet_")
            begun.touch()
        if n > 200 and done.exists():
            break
keep("")
print(json.dumps(figures))
"""


def measure(name: str, url: str, pairs: int, votes: float, steps: str) -> dict[str, float]:
    """Figures on one database, which is migrated first."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "PAIRLOOP_HOME": home,
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
        subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
        begun, done = Path(home) / "begun", Path(home) / "done"
        program = [sys.executable, "-c", "import django; django.setup()\n" + VOTE]
        voting = subprocess.Popen(
            [*program, str(begun), str(done)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            while not begun.exists() and voting.poll() is None:
                time.sleep(0.1)
            figures = json.loads(
                shell(MEASURE, str(pairs), str(votes), steps, environment=environment)
            )
        finally:
            done.touch()
            waited = voting.communicate()[0]
        figures |= json.loads(waited.strip().splitlines()[-1])
        if "exports" in steps.split(","):
            figures["exported_votes"] = json.loads(shell(FREEZE, environment=environment))
            for format in ("votes", "parquet"):
                out = str(Path(home) / f"out.{format}")
                written = json.loads(shell(WRITE, format, out, environment=environment))
                figures |= {f"export_{format}_{key}": value for key, value in written.items()}
    return {f"{name}_{figure}": value for figure, value in figures.items()}


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    pairs, votes = int(options.get("pairs", 20_000)), float(options.get("votes", 2))
    steps = options.get("steps", "check,file,again,storage,long")
    databases = options.get("databases", "sqlite,postgres").split(",")
    result = Result()
    if "sqlite" in databases:
        result.figures |= measure("sqlite", "", pairs, votes, steps)
    if "postgres" in databases:
        with postgres_database() as url:
            if url is None:
                print("PostgreSQL does not answer; only SQLite was measured")
            else:
                result.figures |= measure("postgres", url, pairs, votes, steps)
    return result
