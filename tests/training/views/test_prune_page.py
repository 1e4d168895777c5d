from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from annotate.models import Project
from tests.training.conftest import queries
from tests.training.history import add_policy, add_starter, make_round
from training.models import ModelVersion, Run

Browser = Callable[[User], Client]
URL = "/projects/desk/models/prune/"


@pytest.fixture
def old(project: Project, settings: Settings, tmp_path: Path) -> ModelVersion:
    """The first of five retired policies with 2.5 MB of weights each."""
    settings.HOME = tmp_path
    add_starter(project)
    for number in range(1, 6):
        version = add_policy(make_round(project, number), state="retired")
        (tmp_path / version.path).mkdir(parents=True)
        (tmp_path / version.path / "model.safetensors").write_bytes(b"0" * 2_500_000)
    ModelVersion.objects.update(parent=None)
    return ModelVersion.objects.get(number=1)


def shown(client: Client, keep: int) -> dict[str, str]:
    """The hidden fields of the page that shows what would go."""
    text = client.get(URL, {"keep": keep}).content.decode()
    return dict(re.findall(r'type="hidden" name="(keep|plan)" value="([^"]+)"', text))


def test_it_shows_what_would_go_and_how_much_and_touches_nothing(
    old: ModelVersion, zed: User, client_for: Browser
) -> None:
    text = client_for(zed).get(URL).content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert "Weights of policy-1" in text and "Weights of policy-2" in text
    assert "policy-3" not in text
    assert "Remove 5.0 MB for good" in text
    assert Path(old.location).is_dir()


def test_the_number_of_queries_does_not_grow_with_the_rounds(
    old: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)

    few = queries(client, URL)
    for run in Run.objects.all():
        (run.directory / "checkpoints").mkdir(parents=True)
    assert b"Checkpoints of round 5" in client.get(URL).content
    assert queries(client, URL) == few


def test_what_is_confirmed_goes(old: ModelVersion, zed: User, client_for: Browser) -> None:
    client = client_for(zed)
    answer = client.post(URL, shown(client, 4), follow=True)
    text = answer.content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert "Removed 2.5 MB." in text
    assert not Path(old.location).is_dir()
    old.refresh_from_db()
    assert old.pruned_at is not None
    assert "Nothing to remove" in client.get(URL, {"keep": 4}).content.decode()


def test_a_plan_that_changed_is_shown_again_instead(
    old: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    seen = shown(client, 4)
    add_policy(make_round(old.project, 6), state="retired")
    answer = client.post(URL, seen)
    assert answer.status_code == 409
    assert "Weights of policy-2" in answer.content.decode()
    assert Path(old.location).is_dir()


def test_what_is_held_back_is_said(old: ModelVersion, zed: User, client_for: Browser) -> None:
    Run.objects.create(project=old.project, kind="compare")
    text = client_for(zed).get(URL).content.decode()
    assert "A comparison is under way: weights stay until it has ended." in text
    assert "Remove" not in text.partition("<main")[2]


@pytest.mark.parametrize("keep", ["-1", "many", ""])
def test_a_bad_number_is_refused(
    keep: str, old: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    for answer in (client.get(URL, {"keep": keep}), client.post(URL, {"keep": keep})):
        assert answer.status_code == 400
        assert 'class="errors"' in answer.content.decode()
    assert Path(old.location).is_dir()
