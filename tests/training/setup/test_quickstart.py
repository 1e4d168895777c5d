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

from annotate import exchange
from annotate.models import Membership, Pair, Project
from tests.training.conftest import Spawned, trace, wait_for
from tests.training.history import add_starter
from tests.training.rlhf import tiny
from training.completions import reply_length
from training.models import ModelVersion, Plan, Run
from training.rlhf.config import SFTJob, load
from training.setup import own_model

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
    assert project.pairs.filter(state="open", stream="", source="starter").count() >= 300
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


def test_a_model_of_ones_own_answers_some_prompts_at_once_and_the_others_by_a_worker(
    spawn: Spawn, home: Path, root: User, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("models")
    model, other = (tiny.llama(folder / name) for name in ("one", "two"))
    code, output = spawn("quickstart", "--model", str(model)).finish()
    assert (code, "password" in output) == (0, False), output
    assert User.objects.get(is_superuser=True) == root
    assert ModelVersion.objects.get().location == str(model)
    assert Plan.objects.get().config == {}, "all follows from the model"
    kinds = [(run.kind, run.state) for run in Run.objects.order_by("pk")]
    assert kinds == [("check", "done"), ("completions", "done"), ("completions", "queued")]
    assert 0 < Pair.objects.count() <= own_model.FIRST_PROMPTS
    assert Pair.objects.filter(completion_a__policy="starter").exists()
    assert "answers the other prompts meanwhile" in output
    code, output = spawn("quickstart", "--model", str(other)).finish()
    assert code == 1 and f"The first policy of support-desk is {model}" in output


@pytest.mark.django_db(transaction=True)
def test_another_project_gets_its_model_and_first_pairs_and_learns_what_comes_next(
    project: Project, home: Path, tmp_path: Path
) -> None:
    chats = [[{"role": "user", "content": f"Where is parcel {i}?"}] for i in range(6)]
    model = str(tiny.llama(tmp_path / "model"))

    def said(**options: str) -> str:
        out = StringIO()
        call_command("quickstart", project="desk", stdout=out, **options)
        return out.getvalue()

    with pytest.raises(CommandError, match="desk has no model yet: name one with --model"):
        said()
    assert "The project has no prompts yet: import some" in said(model=model)
    exchange.add_prompts(project, ({"messages": chat} for chat in chats))
    told = said(model=model)
    assert "4 pairs wait for votes" in told and "/projects/desk/people/" in told
    assert "a round wants votes on 12 pairs" in told and "A worker" in told
    again = said()
    assert project.pairs.count() == 4 and "4 pairs wait for votes" in again
    assert Run.objects.filter(kind="completions").count() == 2, "the worker's are left to it"


@pytest.mark.django_db(transaction=True)
def test_a_slow_machine_keeps_the_replies_short_so_that_pairs_come_while_people_vote(
    project: Project, home: Path
) -> None:
    tiny.llama(home / "starter")
    starter = add_starter(project)
    seen = {"version": starter.pk, "report": {"tokens_per_second": 4.0}}
    Run.objects.create(project=project, kind="check", state="done", options=seen)
    chats = [[{"role": "user", "content": f"Where is parcel {i}?"}] for i in range(6)]
    exchange.add_prompts(project, ({"messages": chat} for chat in chats))
    call_command("quickstart", project="desk", stdout=StringIO())
    first, others = Run.objects.filter(kind="completions").order_by("pk")
    assert (first.options["most"], others.options["most"]) == (own_model.FEWEST_PROMPTS, 0)
    lengths = {run.options["max_new_tokens"] for run in (first, others)}
    assert lengths == {own_model.SHORTEST}
    assert reply_length.of_version(starter) > own_model.SHORTEST


def test_a_model_folder_that_is_not_there_is_an_error(db: None) -> None:
    with pytest.raises(CommandError, match=r"There is no model folder \./nowhere"):
        call_command("quickstart", "--model", "./nowhere", stdout=StringIO())
    assert not Project.objects.exists()
