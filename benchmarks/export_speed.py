"""Rows per second of wall time that exports write, and the memory that they take.

A project of two votes a pair (a third on every disagreement) with prompts and replies of some
hundred characters, in a database of its own; each format is written by a process of its own, as
the command writes it. `python -m benchmarks export_speed [--votes=200000] [--formats=votes,csv]
[--databases=sqlite,postgres]`.
"""

from __future__ import annotations

import json
import os

from benchmarks.pages import SETUP, VOTES_PER_PAIR
from benchmarks.result import Result
from benchmarks.votes import installation, postgres_database, shell

FORMATS = ("votes", "parquet", "trl", "trl-conversational", "csv", "kto", "hf")
REAL_TEXTS = """
import json
from django.db import connection
from annotate.exporting import freezing
from annotate.models import Completion, Project, Prompt
with connection.cursor() as cursor:
    if connection.vendor == "postgresql":
        cursor.execute("SET statement_timeout = 0")
    cast = "::jsonb" if connection.vendor == "postgresql" else ""
    asked = "a question of some length about nothing in particular, " * 4
    cursor.execute(
        "UPDATE annotate_prompt SET messages = ('[{\\"role\\": \\"user\\", \\"content\\": \\"' || "
        f"id || '{asked}' || '\\"}}]'){cast}"
    )
    more = " and it goes on" * 20
    cursor.execute(f"UPDATE annotate_completion SET text = id || ': ' || text || '{more}'")
version = freezing.freeze(Project.objects.get(slug="many"))
print(json.dumps(version.n_votes))
"""
WRITE = """
import json, resource, sys, time
from pathlib import Path
from annotate.exporting import export_files, format_named
from annotate.models import DatasetVersion
from annotate.statements.statement_timeout import unhurried
version = DatasetVersion.objects.select_related("project").get()
start, before = time.perf_counter(), time.process_time()
with unhurried():
    paths = export_files.write_export(version, sys.argv[1], Path(sys.argv[2]))
wall, worked = time.perf_counter() - start, time.process_time() - before
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def rows(path):
    if path.is_dir():
        return sum(rows(one) for one in path.rglob("*.parquet"))
    if path.suffix == ".parquet" or path.name == "parquet":
        from pyarrow import parquet
        return parquet.read_metadata(path).num_rows
    if "csv" in path.name:
        import csv
        with path.open(newline="") as file:
            return sum(1 for _ in csv.reader(file)) - 1
    with path.open("rb") as file:
        return sum(1 for _ in file)
count = sum(rows(path) for path in paths.values())
print(json.dumps({"rows": count, "rows_per_s": count / wall,
                  "rows_per_cpu_s": count / worked, "peak_mb": memory}))
"""


def measure(name: str, url: str, votes: int, formats: list[str]) -> dict[str, float]:
    with installation(url) as (home, environment):
        shell(SETUP, str(round(votes / VOTES_PER_PAIR)), environment=environment)
        figures = {f"{name}_votes": json.loads(shell(REAL_TEXTS, environment=environment))}
        for one in formats:
            out = os.path.join(home, one)
            taken = json.loads(shell(WRITE, one, out, environment=environment))
            figures |= {f"{name}_{one}_{key}": value for key, value in taken.items()}
    return figures


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=", 1) for argument in arguments)
    votes = int(options.get("votes", 200_000))
    formats = options.get("formats", ",".join(FORMATS)).split(",")
    result = Result()
    databases = options.get("databases", "sqlite,postgres").split(",")
    if "sqlite" in databases:
        result.figures |= measure("sqlite", "", votes, formats)
    if "postgres" in databases:
        with postgres_database() as url:
            if url is None:
                print("PostgreSQL does not answer; only SQLite was measured")
            else:
                result.figures |= measure("postgres", url, votes, formats)
    return result
