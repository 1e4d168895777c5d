"""Rounds that fail in the real engine: the reason reaches people, and a retry goes on."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from annotate.models import Project
from tests.training.conftest import QUICK
from tests.training.rlhf import tiny, world
from training.models import ModelVersion, Plan, Round, Run
from training.rlhf.round import STAGES
from training.rounds import start_and_cancel
from training.runs import supervisor
from training.versions import promotion

PAGE = "/projects/desk/rounds/1/"
SETTINGS = {name: value for name, value in world.CONFIG.items() if name != "seed"}
"""A round's seed follows from its number."""
QUICK_ROUND = {
    "reward": world.CONFIG["reward"] | {"batch_size": 32},
    "ppo": world.CONFIG["ppo"] | {"updates": 1},
}


@pytest.fixture
def started(
    voted: Project, home: Path, transactional_db: None, settings: Settings
) -> tuple[Run, Path]:
    """A queued round of the real engine, in miniature, and the folder of its starter."""
    settings.TRAINING_THREADS = 1
    starter = tiny.llama(home / "starter")
    promotion.adopt_starter(voted, "starter")
    Plan.objects.create(project=voted, config=SETTINGS | QUICK_ROUND)
    return Run.objects.get(round=start_and_cancel.start_round(voted, enqueue=False)), starter


def see_through(run: Run) -> Run:
    supervisor.supervise(run, pace=QUICK)
    run.refresh_from_db()
    return run


def test_a_damaged_starter_fails_the_round_until_it_is_replaced(
    started: tuple[Run, Path], zed: User, client_for: Callable[[User], Client]
) -> None:
    run, starter = started
    weights = starter / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    see_through(run)
    reason = "its weights are damaged"
    assert run.state == "failed" and run.error.startswith("Train reward model: ")
    assert reason in run.error and "copy or download it again" in run.error
    assert reason in client_for(zed).get(PAGE).content.decode()
    out = StringIO()
    call_command("status", "--project", "desk", stdout=out)
    assert "round 1  failed" in out.getvalue() and reason in out.getvalue()
    assert not run.stages.exists()
    assert [version.name for version in ModelVersion.objects.all()] == ["policy-0"]

    weights.write_bytes(whole)
    client_for(zed).post(PAGE + "retry/")
    see_through(run)
    assert (run.state, run.error) == ("done", "")
    assert Round.objects.get().state == "done"
    assert [stage.stage for stage in run.stages.order_by("id")] == [s.name for s in STAGES]
    new = ModelVersion.objects.policies().get(number=1)
    assert new.state == "candidate" and "Broken replies" in str(new.gates), "it never stops"
    assert [one.name for one in ModelVersion.objects.policies().promoted()] == ["policy-0"]
