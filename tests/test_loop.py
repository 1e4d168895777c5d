"""The loop by its commands, real at every layer: votes go in, a changed policy comes out."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parent.parent
SLUG = "support-desk"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home, and on PostgreSQL a database, of its own."""
    url = os.environ.get("DATABASE_URL", "")
    environment = os.environ | {"PAIRLOOP_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    if not url.startswith("postgres"):
        yield environment | {"DATABASE_URL": ""}
        return
    name = f"pairloop_loop_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield environment | {"DATABASE_URL": f"{url.rpartition('/')[0]}/{name}"}
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def manage(*arguments: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def status(environment: dict[str, str]) -> dict[str, object]:
    return json.loads(manage("status", "--project", SLUG, "--json", environment=environment))


def weights(home: Path) -> set[str]:
    """Hashes of all policies on disk: starter and trained."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.glob("runs/**/model.safetensors")
        if "checkpoints" not in path.parts
    }


@pytest.mark.database
@pytest.mark.early
def test_votes_become_a_changed_policy_whose_pairs_are_in_the_queue(
    installation: dict[str, str], tmp_path: Path
) -> None:
    manage("quickstart", "--seed", "1", environment=installation)
    first = status(installation)
    assert first["pairs_open"] >= 300
    assert first["rounds"] == []
    starter = weights(tmp_path / "home")

    manage(
        *("simulate", "--project", SLUG, "--annotators", "12", "--votes", "400"),
        environment=installation,
    )
    voted = status(installation)
    assert voted["votes"] == 400

    manage("run_round", "--project", SLUG, "--seed", "1", environment=installation)
    last = status(installation)
    (turn,) = last["rounds"]
    assert turn["number"] == 1 and turn["state"] == "done"
    assert turn["metrics"]["train_reward"]["accuracy"] > 0.6
    assert turn["metrics"]["evaluate"]["win_rate"] > 0.5
    assert weights(tmp_path / "home") - starter

    out = tmp_path / "preferences.jsonl"
    manage(
        *("export_data", "--project", SLUG, "--format", "trl", "--out", str(out)),
        "--include-simulated",
        environment=installation,
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows and {"prompt", "chosen", "rejected", "margin"} <= set(rows[0])

    # The new policy's completions wait for votes, and people get them.
    sql = (
        "from annotate.models import Pair; "
        "print(Pair.objects.filter(source='round-1', state='open').count())"
    )
    assert int(manage("shell", "-v", "0", "-c", sql, environment=installation).split()[-1]) > 100

    # Setting up again finds everything in place.
    manage("quickstart", "--seed", "1", environment=installation)
    assert status(installation) == last
