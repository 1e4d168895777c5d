"""The loop by its commands, real at every layer: votes go in, a changed policy comes out.

`make test` goes around it with a tiny model that was made elsewhere; the browser trains the sample
project's own starter (tests/browser/test_demo.py), and `make test-long` does so here as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from safetensors.numpy import load_file

from tests.training.rlhf import tiny

ROOT = Path(__file__).resolve().parent.parent
SLUG = "support-desk"
PLAN: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "reward": {"epochs": 1.0},
    "ppo": {
        "updates": 2,
        "batch_size": 8,
        "minibatch_size": 8,
        "epochs": 1,
        "max_new_tokens": 8,
        "lora": {"r": 4},
    },
    "evaluate": {"prompts": 16, "max_new_tokens": 8},
    "sample": {"max_new_tokens": 16},
    "propose": {"features": 8},
}
"""Rounds as short as a tiny model needs them."""


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


def python(line: str, *, environment: dict[str, str]) -> str:
    """Run a line of Python that may name pairs and plans; its output."""
    imports = "from annotate.models import Pair; from training.models import Plan; "
    return manage("shell", "-v", "0", "-c", imports + line, environment=environment)


def status(environment: dict[str, str]) -> dict[str, Any]:
    return dict(json.loads(manage("status", "--project", SLUG, "--json", environment=environment)))


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
    model = str(tiny.brief(tmp_path / "model"))
    begin(installation, "--model", model)
    python(f"Plan.objects.update(config={PLAN})", environment=installation)
    turn = go_around(installation)
    assert turn["metrics"]["train_reward"]["annotators"] == 12
    (adapter,) = (tmp_path / "home").glob("runs/*/train_policy/model/adapter_model.safetensors")
    # A new adapter leaves its model as it is: these are zeros.
    added = [value for name, value in load_file(adapter).items() if "lora_B" in name]
    assert added and all(value.any() for value in added)
    stands(installation, tmp_path, "--model", model)


@pytest.mark.long
@pytest.mark.database
@pytest.mark.early
def test_votes_become_a_policy_that_is_better_than_the_starter_of_the_sample(
    installation: dict[str, str], tmp_path: Path
) -> None:
    begin(installation)
    starter = weights(tmp_path / "home")
    turn = go_around(installation)
    assert turn["metrics"]["train_reward"]["accuracy"] > 0.6
    assert turn["metrics"]["evaluate"]["win_rate"] > 0.5
    assert weights(tmp_path / "home") - starter
    stands(installation, tmp_path)


def begin(installation: dict[str, str], *model: str) -> None:
    """Set up; first pairs are there."""
    manage("quickstart", "--seed", "1", *model, environment=installation)
    first = status(installation)
    assert first["pairs_open"] >= 300
    assert first["rounds"] == []


def go_around(installation: dict[str, str]) -> dict[str, Any]:
    """Vote, and run the first round; its status."""
    manage(
        *("simulate", "--project", SLUG, "--annotators", "12", "--votes", "400"),
        environment=installation,
    )
    assert status(installation)["votes"] == 400
    manage("run_round", "--project", SLUG, "--seed", "1", environment=installation)
    (turn,) = status(installation)["rounds"]
    assert turn["number"] == 1 and turn["state"] == "done"
    return dict(turn)


def stands(installation: dict[str, str], folder: Path, *model: str) -> None:
    """What a round leaves: data to export, pairs to vote on, and a setup that finds all of it."""
    last, out = status(installation), folder / "preferences.jsonl"
    manage(
        *("export_data", "--project", SLUG, "--format", "trl", "--out", str(out)),
        "--include-simulated",
        environment=installation,
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows and {"prompt", "chosen", "rejected", "margin"} <= set(rows[0])

    # The new policy's completions wait for votes, and people get them.
    waiting = "print(Pair.objects.filter(source='round-1', state='open').count())"
    assert int(python(waiting, environment=installation).split()[-1]) > 100

    # Setting up again finds everything in place.
    manage("quickstart", "--seed", "1", *model, environment=installation)
    assert status(installation) == last
