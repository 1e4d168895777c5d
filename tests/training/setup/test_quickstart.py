from __future__ import annotations

import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from annotate.models import Membership, Pair, Project
from tests.training.conftest import Spawned, trace, wait_for
from training.models import ModelVersion, Plan, Run
from training.rlhf.config import SampleJob, SFTJob, load

Spawn = Callable[..., Spawned]
Here = Callable[..., tuple[int, str]]


@pytest.fixture
def behave_all(home: Path) -> Callable[..., None]:
    """behave_all(pause=...): how the fake program acts in every run of the home."""

    def write(**how: object) -> None:
        (home / "runs").mkdir(exist_ok=True)
        (home / "runs" / "behaviour.json").write_text(json.dumps(how))

    return write


def test_it_ends_with_first_pairs_and_one_superuser_and_can_be_run_again(
    spawn: Spawn, command: Here, settings: Settings
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    code, first = spawn("quickstart", "--seed", "3").finish()
    assert code == 0, first
    project = Project.objects.get(slug="support-desk")
    assert project.pairs.filter(state="open", stream="random", source="starter").count() >= 300
    assert project.pairs.filter(prompt__held_out=True).exists()
    starter = ModelVersion.objects.get()
    assert (starter.name, starter.state) == ("policy-0", "promoted")
    assert Plan.objects.get().config == {"optimiser": "ppo"}
    sft = load(SFTJob, Run.objects.get(kind="starter").directory / "config.json")
    assert (sft.sft.seed, sft.threads) == (3, 1)
    assert len(Path(sft.sft.data).read_text().splitlines()) == 4000

    password = re.search(r"Superuser admin, password (\S+)", first)
    user = User.objects.get(is_superuser=True)
    assert password is not None
    assert user.check_password(password[1])
    assert Membership.objects.get(user=user).role == "admin"

    code, second = command("quickstart")
    assert code == 0
    assert "Already set up: 320 pairs are waiting." in second
    assert "password" not in second


def test_it_goes_on_after_a_kill_at_any_step(
    spawn: Spawn, command: Here, behave_all: Callable[..., None]
) -> None:
    behave_all(pause=0.3)
    for kind in ("starter", "first_pairs"):
        killed = spawn("quickstart")
        running = Run.objects.filter(kind=kind, state="running")
        wait_for(lambda: running.exists() and len(trace(running.get())) > 1)  # noqa: B023
        killed.kill()
        killed.wait()
    behave_all()
    code, output = command("quickstart")
    assert code == 0, output
    assert sorted(Run.objects.values_list("kind", "state")) == [
        ("first_pairs", "done"),
        ("starter", "done"),
    ]
    assert ModelVersion.objects.count() == 1
    assert Pair.objects.count() == 320


def test_a_step_that_failed_is_named_and_tried_again(
    command: Here, behave_all: Callable[..., None]
) -> None:
    behave_all(exit={"starter": 9})
    code, output = command("quickstart")
    assert code == 1
    assert "Train the starter policy: The process ended with exit code 9" in output
    behave_all()
    assert command("quickstart")[0] == 0


def test_a_model_folder_is_taken_as_it_is_and_a_superuser_is_kept(
    command: Here, root: User, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = tmp_path_factory.mktemp("model")
    code, output = command("quickstart", "--model", str(model))
    assert (code, "password" in output) == (0, False)
    assert User.objects.get(is_superuser=True) == root
    assert ModelVersion.objects.get().location == str(model)
    assert [run.kind for run in Run.objects.all()] == ["first_pairs"]
    assert Plan.objects.get().config == {}, "all follows from the model"
    job = load(SampleJob, Run.objects.get().directory / "config.json")
    assert (job.policy, job.threads) == (str(model), 0)


def test_another_model_is_taken_until_the_first_pairs_are_there(
    command: Here,
    behave_all: Callable[..., None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = tmp_path_factory.mktemp("model")
    behave_all(exit={"first_pairs": 9})
    assert command("quickstart", "--model", "org/misspelt")[0] == 1
    behave_all()
    assert command("quickstart", "--model", str(model))[0] == 0
    job = load(SampleJob, Run.objects.get(kind="first_pairs").directory / "config.json")
    assert job.policy == str(model)
    code, output = command("quickstart", "--model", "org/other")
    assert code == 1
    assert f"The first policy of support-desk is {model}" in output
    assert command("quickstart", "--model", str(model))[0] == 0


def test_a_model_folder_that_is_not_there_is_an_error(db: None) -> None:
    with pytest.raises(CommandError, match=r"There is no model folder \./nowhere"):
        call_command("quickstart", "--model", "./nowhere", stdout=StringIO())
    assert not Project.objects.exists()
