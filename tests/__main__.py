"""`make test`: checks, then all tests that ask a database on PostgreSQL, then the suite on SQLite.
Ends with pytest's own summary.

Services that are missing are named; under PAIRLOOP_REQUIRE_ALL=1 they are a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
MODELS_AND_PAGES = (
    *("tests/training/rlhf", "tests/training/runs/test_failed_rounds.py", "tests/browser"),
    *("tests/training/setup/test_add_model.py", "tests/training/versions/test_serving.py"),
)
"""Real models and a real browser: what they ask of a database SQLite answers alike."""
WORKERS = min(2 * (os.cpu_count() or 1), 8)
"""More than cores: half of the time is spent waiting for databases, browsers and processes."""
REQUIRED = os.environ.get("PAIRLOOP_REQUIRE_ALL") == "1"


def postgres() -> str | None:
    """The server to test on, when one answers."""
    url = os.environ.get("TEST_DATABASE_URL", DEFAULT_POSTGRES)
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.Error as error:
        print(f"PostgreSQL does not answer at {url}: {str(error).splitlines()[0]}")
        return None
    return url


def run(*command: str, **environment: str) -> bool:
    """Run one step and say whether it passed."""
    print(f"\n$ {' '.join(command)}", flush=True)
    # The workers share the cores; threads of their own would only be in each other's way.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | environment
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    return status.returncode == 0


def main(arguments: list[str]) -> int:
    long = "--long" in arguments
    python = sys.executable
    url, chromium = postgres(), shutil.which("chromium")
    missing = [name for name, found in (("PostgreSQL", url), ("Chromium", chromium)) if not found]
    if missing and REQUIRED:
        print(f"Missing and required: {', '.join(missing)}")
        return 1
    passed = [
        run(python, "-m", "ruff", "check", "."),
        run(python, "-m", "ruff", "format", "--check", "."),
        run(python, "-m", "mypy"),
    ]
    suite = (python, "-m", "pytest", "-n", str(WORKERS), "--dist", "loadgroup", "-m")
    chosen = "" if long else "not long"
    if url:
        asking = " and ".join(filter(None, ("database", chosen)))
        ignored = map("--ignore={}".format, MODELS_AND_PAGES)
        passed.append(run(*suite, asking, *ignored, DATABASE_URL=url))
    # With PostgreSQL the loop has run by its commands there; on SQLite the browser closes it.
    once = ["--ignore=tests/test_loop.py"] if url and chromium and not long else []
    passed.append(run(*suite, chosen, *once, DATABASE_URL=""))
    for name in missing:
        print(f"Not tested: {name} was not found.")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
