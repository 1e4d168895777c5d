"""`make test`: checks and every test. `python -m tests PART` runs a part of the tests.

A part is a folder, a file or a word of a name: `annotate/queue`, `tests/test_loop.py`, `lease`.

The suite runs on SQLite. What a database can answer differently runs on PostgreSQL beside it:
locks and transactions (queue, votes, imports, runs, workers), constraints, SQL by hand, JSON,
order, search, figures that are counted by the database, and values that only one of them takes.

What is named in ONCE or marked `once` runs on SQLite alone: it stores and reads rows through the
ORM, and its subject is something else, such as a page, a form, who may open it, a process or a
format. That the statements of pages are understood by PostgreSQL, too, is asked in one place:
tests/config/test_every_page.py opens each page on both, with rows in all of it.

Services that are missing are named; under PAIRLOOP_REQUIRE_ALL=1 they are a failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
ONCE = (
    # Pages, calls, forms, and who may open them.
    *("tests/annotate/api", "tests/annotate/views", "tests/training/views", "tests/browser"),
    *("tests/test_access.py", "tests/annotate/people/test_permissions.py"),
    *("tests/annotate/votes/test_scales.py", "tests/annotate/gold/test_qualification.py"),
    # Real models, and processes that do the work of a stage; the loop does all of it on PostgreSQL.
    *("tests/training/rlhf", "tests/training/runs/test_failed_rounds.py"),
    *("tests/training/runs/test_run_round.py", "tests/training/real_model"),
    *("tests/training/setup/test_start_model_check.py", "tests/training/versions/test_serving.py"),
    *("tests/training/setup/test_quickstart.py", "tests/training/completions"),
    *("tests/training/playground", "tests/training/figures", "tests/test_docs_engine.py"),
    *("tests/test_examples.py", "tests/test_extending.py"),
    # Formats and figures that are made of rows, not by a database.
    *("tests/annotate/exporting/test_trainers_read_exports.py", "tests/annotate/real_data"),
    *("tests/annotate/exporting/test_rows_of_formats.py", "tests/annotate/statistics"),
    *("tests/annotate/importing/shapes", "tests/annotate/importing/files"),
    *("tests/annotate/sample", "tests/annotate/text", "tests/config"),
)
TWICE = (
    "tests/annotate/api/test_hostile_json.py",
    "tests/annotate/api/resources/test_reads.py",
    "tests/annotate/api/protocol/test_idempotency_keys.py",
    "tests/annotate/views/test_data_page.py",
    "tests/config/test_every_page.py",
)
"""What of ONCE has a database's own subject: odd values, filters, two calls at once, search, and
the statements of pages."""
CHROMIUM = ("chromium-headless-shell", "chromium")
"""The shell first: the same engine without the windows, profiles and services of a browser, which
took a third of the browser tests' time. Debian has it in a package of its own."""
CORES = os.cpu_count() or 1
REQUIRED = os.environ.get("PAIRLOOP_REQUIRE_ALL") == "1"


class Step:
    """A command that runs beside others; its output is printed when it is waited for."""

    def __init__(self, *command: str, **environment: str) -> None:
        self.command = command
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=surroundings(environment), stdout=self.log, stderr=self.log
        )

    def status(self) -> int:
        """Wait for the end, print the output and return the exit status."""
        status = self.process.wait()
        self.log.seek(0)
        output = self.log.read().decode(errors="replace")
        print(f"\n$ {' '.join(self.command)}\n{output}", flush=True)
        return told(status, self.command)


def surroundings(changes: dict[str, str]) -> dict[str, str]:
    """The environment of a step."""
    # The workers share the cores; threads of their own would only be in each other's way.
    # torch.compile, of which bitsandbytes decorates four functions at import, loads a compiler of
    # two seconds in every process that imports peft; nothing of the project is compiled.
    kept = {"OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"} | os.environ
    # Without compiled files every process compiles what the one before it compiled.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | changes


def follow(*command: str, **environment: str) -> int:
    """Run a command with its output on this terminal and return its exit status."""
    print(f"\n$ {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=ROOT, env=surroundings(environment), check=False)
    return told(done.returncode, command)


def told(status: int, command: Sequence[str]) -> int:
    """Return an exit status, which is repeated at the end of all when it is not 0."""
    if status:
        with Path(os.environ["PAIRLOOP_FAILURES"]).open("a", encoding="utf-8") as file:
            file.write(f"\nexit status {status}: {' '.join(command)}\n")
    return status


def postgres() -> str | None:
    """The server to test on, when one answers."""
    url = os.environ.get("TEST_DATABASE_URL", DEFAULT_POSTGRES)
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.Error as error:
        print(f"PostgreSQL does not answer at {url}: {str(error).splitlines()[0]}")
        return None
    return url


def selection(part: str) -> list[str]:
    """Arguments of pytest for a part: a path below tests/ or as it is, else a word as for -k."""
    for path in (f"tests/{part}", part):
        if (ROOT / path.partition("::")[0]).exists():
            return [path]
    return ["-k", part]


def suite(workers: int, marks: str, *arguments: str) -> list[str]:
    """The pytest command. A file stays in one process, with what its tests share."""
    one_file = any(".py" in argument for argument in arguments if not argument.startswith("-"))
    alone = one_file or workers == 1
    spread = ("-n", str(0 if alone else workers), "--dist", "loadfile", "--no-loadscope-reorder")
    # As profiles are named in tests/conftest.py.
    profile = "fixed" if "not long" in marks else "searching"
    return [
        *(sys.executable, "-m", "pytest", *spread, "-p", "tests.plugins.cpu_seconds"),
        f"--hypothesis-profile={profile}",
        *("-p", "tests.plugins.failures", "-m", marks, *arguments),
    ]


def run_all(url: str | None, chromium: bool, counts: str) -> bool:
    """The checks and both suites; return whether all passed."""
    ruff = (sys.executable, "-m", "ruff")
    passed = [follow(*ruff, "check", "."), follow(*ruff, "format", "--check", ".")]
    follow(sys.executable, "-m", "tests.lengths")  # to be read; no length fails
    beside = [Step(sys.executable, "-m", "mypy")]
    if url:
        beside.append(on_postgres(url, counts))
    # With PostgreSQL the loop runs by its commands there; on SQLite the browser closes it.
    once = ["--ignore=tests/test_loop.py"] if url and chromium and counts else []
    passed.append(follow(*suite(CORES + 1, counts, *once), DATABASE_URL=""))
    passed += [step.status() for step in beside]
    return not any(passed)


def left_out() -> list[str]:
    """What PostgreSQL leaves out: the paths of ONCE, without the files of TWICE."""
    paths: list[str] = []
    for path in ONCE:
        kept = any(file.startswith(f"{path}/") for file in TWICE)
        files = (str(file.relative_to(ROOT)) for file in (ROOT / path).rglob("test_*.py"))
        paths += sorted(set(files) - set(TWICE)) if kept else [path]
    return paths


def run_part(url: str | None, counts: str, *part: str) -> bool:
    """A part of both suites; return whether something was tested and all of it passed."""
    once = part[0].startswith(tuple(left_out()))
    beside = [on_postgres(url, counts, *part)] if url and not once else []
    status = follow(*suite(CORES, counts, *part), DATABASE_URL="")
    # Nothing of a part may ask a database.
    fine = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return status == 0 and all(step.status() in fine for step in beside)


def on_postgres(url: str, counts: str, *part: str) -> Step:
    """Start what asks a database on PostgreSQL."""
    marks = " and ".join(filter(None, ("database and not once", counts)))
    ignored = map("--ignore={}".format, left_out())
    return Step(*suite(max(1, CORES // 2), marks, *ignored, *part), DATABASE_URL=url)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests")
    parser.add_argument("part", nargs="?", help="a folder, a file, or a word of a test's name")
    parser.add_argument("--long", action="store_true", help="full counts")
    asked = parser.parse_args(arguments)
    url, chromium = postgres(), any(map(shutil.which, CHROMIUM))
    missing = [name for name, there in (("PostgreSQL", url), ("Chromium", chromium)) if not there]
    if missing and REQUIRED:
        print(f"Missing and required: {', '.join(missing)}")
        return 1
    counts = "" if asked.long else "not long"
    with tempfile.TemporaryDirectory() as folder:
        failures = Path(folder, "failures")
        os.environ["PAIRLOOP_FAILURES"] = str(failures)
        if asked.part:
            passed = run_part(url, counts, *selection(asked.part))
        else:
            passed = run_all(url, chromium, counts)
        if failures.exists():
            print(f"\nFailed:\n{failures.read_text(encoding='utf-8')}", flush=True)
    for name in missing:
        print(f"Not tested: {name} was not found.")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
