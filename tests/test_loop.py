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
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings
from safetensors.numpy import load_file

from annotate.models import Pair
from tests.training.conftest import environment
from training.models import ModelVersion, Plan, Run

ROOT = Path(__file__).resolve().parent.parent
SLUG = "support-desk"
PLAN: dict[str, Any] = {
    "threads": 1,
    "device": "cpu",
    "optimiser": "ppo",
    "reward": {"epochs": 1.0, "folds": 2},
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
def installation(tmp_path: Path, transactional_db: None, settings: Settings) -> dict[str, str]:
    """A home of its own and the migrated database of the tests; the real training program."""
    settings.HOME, settings.MIN_FREE_GB = tmp_path / "home", 0.0
    own = environment(tmp_path / "home") | {"PAIRLOOP_LAUNCHER": "", "HF_HUB_OFFLINE": "1"}
    return os.environ | own


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


def here(*arguments: str) -> str:
    """The output of a command in this process; a new one only loads the product once more."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def status() -> dict[str, Any]:
    return dict(json.loads(here("status", "--project", SLUG, "--json")))


def weights(home: Path) -> set[str]:
    """Hashes of all policies on disk: starter and trained."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.glob("runs/**/model.safetensors")
        if "checkpoints" not in path.parts
    }


@pytest.mark.early
def test_votes_become_a_changed_policy_whose_pairs_are_in_the_queue(
    installation: dict[str, str], tmp_path: Path
) -> None:
    from tests.training.rlhf import tiny  # and torch, which no other test of both databases needs

    model = str(tiny.brief(tmp_path / "model"))
    begin(installation, "--model", model)
    add_pairs(tmp_path)
    Plan.objects.update(config=PLAN)
    last = go_around(installation)
    assert last["rounds"][0]["metrics"]["train_reward"]["annotators"] == 12
    (adapter,) = (tmp_path / "home").glob("runs/*/train_policy/model/adapter_model.safetensors")
    # A new adapter leaves its model as it is: these are zeros.
    added = [value for name, value in load_file(adapter).items() if "lora_B" in name]
    assert added and all(value.any() for value in added)
    stands(installation, tmp_path, last, "--model", model)


@pytest.mark.long
@pytest.mark.early
def test_votes_become_a_policy_that_is_better_than_the_starter_of_the_sample(
    installation: dict[str, str], tmp_path: Path
) -> None:
    begin(installation)
    starter = weights(tmp_path / "home")
    last = go_around(installation)
    (turn,) = last["rounds"]
    assert turn["metrics"]["train_reward"]["accuracy"] > 0.6
    assert turn["metrics"]["evaluate"]["win_rate"] > 0.5
    assert weights(tmp_path / "home") - starter
    stands(installation, tmp_path, last)


@pytest.mark.long
@pytest.mark.early
def test_the_samples_first_round_changes_its_replies_after_40_votes_and_says_what_it_rests_on(
    installation: dict[str, str], tmp_path: Path
) -> None:
    begin(installation)
    vote(40)
    manage("run_round", "--project", SLUG, "--seed", "1", environment=installation)
    policy = ModelVersion.objects.policies().get(number=1)
    assert policy.state == "promoted" and "its judge is not independent" in policy.note
    told = {gate["name"]: gate["text"] for gate in policy.gates}
    assert "pairs out of fold" in told["reward_accuracy"]
    assert "not independent of the reward model" in told["win_rate"]
    (file,) = (tmp_path / "home").glob("runs/*/evaluate/samples.jsonl")
    samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    changed = [row["before"] != row["after"] for row in samples]
    assert sum(changed) > len(changed) / 2


def begin(installation: dict[str, str], *model: str) -> None:
    """Set up; first pairs are there."""
    manage("quickstart", "--seed", "1", *model, environment=installation)
    first = status()
    assert first["pairs_open"] >= (1 if model else 300)
    assert first["rounds"] == []


def add_pairs(folder: Path) -> None:
    """Pairs from a file, in place of those that a worker would write for minutes."""
    Run.objects.filter(kind="completions", state="queued").delete()
    rows = [
        {
            "prompt": f"Order {i} has not come.",
            "completion_a": f"I am sorry. I have sent parcel {i} again today.",
            "completion_b": "Wait." if i % 2 else f"Orders come when they come, {i} too.",
        }
        for i in range(200)
    ]
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    here("import_data", str(file), "--project", SLUG)


def vote(votes: int) -> None:
    here("simulate", "--project", SLUG, "--annotators", "12", "--votes", str(votes))


def go_around(installation: dict[str, str]) -> dict[str, Any]:
    """Vote, and run the first round; the status after it."""
    vote(400)
    manage("run_round", "--project", SLUG, "--seed", "1", environment=installation)
    last = status()
    assert last["votes"] == 400
    (turn,) = last["rounds"]
    assert turn["number"] == 1 and turn["state"] == "done"
    return last


def stands(installation: dict[str, str], folder: Path, last: dict[str, Any], *model: str) -> None:
    """What a round leaves: data to export, pairs to vote on, and a setup that finds all of it."""
    out = folder / "preferences.jsonl"
    wanted = ("--format", "trl", "--out", str(out), "--include-simulated")
    here("export_data", "--project", SLUG, *wanted)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows and {"prompt", "chosen", "rejected", "margin"} <= set(rows[0])

    # The new policy's completions wait for votes, and people get them.
    assert Pair.objects.filter(source="round-1", state="open").count() > 100

    # Setting up again finds everything in place.
    manage("quickstart", "--seed", "1", *model, environment=installation)
    assert status() == last
