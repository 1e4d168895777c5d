"""Pushing a model to a hub, from the button to what the hub has, by a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from annotate.models import Project
from tests.conftest import at_once
from tests.training import fake_hub
from tests.training.conftest import QUICK
from tests.training.history import add_policy, add_starter, make_round
from training.models import ModelVersion, Run
from training.rounds import hub_push
from training.runs import supervisor

Browser = Callable[[User], Client]
REPO = {"repo": "my-team/desk-policy", "private": "on"}
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[fake_hub.Hub]:
    settings.HUB_PUSH = True
    with fake_hub.running() as found:
        for name, value in (("ENDPOINT", found.url), ("TOKEN", found.token), ("HUB_OFFLINE", "0")):
            monkeypatch.setenv(f"HF_{name}", value)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield found


@pytest.fixture
def version(project: Project, home: Path) -> ModelVersion:
    """policy-1 with weights, and something that must not leave."""
    add_starter(project)
    made = add_policy(make_round(project, 1), state="candidate")
    folder = home / made.path
    folder.mkdir(parents=True)
    files = {"model.safetensors": "weights", "config.json": "{}", "optimizer.pt": "state"}
    for name, text in files.items():
        (folder / name).write_text(text)
    return made


def push(client: Client, version: ModelVersion, **fields: str) -> str:
    answer = client.post(f"/projects/desk/models/{version.pk}/push/", REPO | fields, follow=True)
    return str(answer.content.decode())


def upload() -> Run:
    """See the queued upload through, as a training worker would."""
    run = Run.objects.get(kind="push", state="queued")
    supervisor.supervise(run, pace=QUICK)
    run.refresh_from_db()
    return run


def test_a_version_arrives_with_its_card_and_nothing_else(
    hub: fake_hub.Hub, version: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert "as soon as a training worker is free" in push(client, version)
    assert "on its way to my-team/desk-policy already" in push(client, version)
    assert upload().state == "done"
    files = hub.repos["my-team/desk-policy"]
    assert set(files) == {"README.md", "config.json", "model.safetensors"}
    assert files["model.safetensors"] == b"weights"
    assert files["README.md"].startswith(b"---\nlibrary_name: transformers")
    assert hub.private == {"my-team/desk-policy": True}
    page = client.get(f"/projects/desk/models/{version.pk}/").content.decode()
    assert f'<a href="{hub.url}/my-team/desk-policy"' in page


def test_what_the_hub_says_stands_on_the_page(
    hub: fake_hub.Hub,
    version: ModelVersion,
    zed: User,
    client_for: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    client = client_for(zed)
    push(client, version)
    run = upload()
    assert run.state == "failed" and "the hub took nothing" in run.error
    page = client.get(f"/projects/desk/models/{version.pk}/").content.decode()
    assert "Invalid username or password" in page and "hf_other" not in page


@pytest.mark.parametrize("repo", ["", "desk", "a/b/c", "../x", "my team/x", "a/" + "b" * 200])
def test_a_bad_name_is_refused(
    repo: str, hub: fake_hub.Hub, version: ModelVersion, zed: User, client_for: Browser
) -> None:
    assert 'class="errors"' in push(client_for(zed), version, repo=repo)
    assert not Run.objects.filter(kind="push").exists()


def test_nothing_is_pushed_unless_the_installation_allows_it(
    version: ModelVersion, zed: User, client_for: Browser
) -> None:
    client = client_for(zed)
    assert (
        "Push to a hub" not in client.get(f"/projects/desk/models/{version.pk}/").content.decode()
    )
    assert "PAIRLOOP_HUB_PUSH" in push(client, version)
    assert not Run.objects.filter(kind="push").exists()


def test_of_two_clicks_at_once_one_pushes(hub: fake_hub.Hub, version: ModelVersion) -> None:
    def again() -> Run:
        seen = ModelVersion.objects.select_related("project").get(pk=version.pk)
        return hub_push.push(seen, repo="my-team/desk-policy", private=True)

    outcomes = at_once(again, again)
    assert {type(one) for one in outcomes} == {hub_push.Refused, Run}
    assert Run.objects.filter(kind="push").count() == 1


def test_without_weights_there_is_nothing_to_push(
    hub: fake_hub.Hub, version: ModelVersion, zed: User, client_for: Browser
) -> None:
    ModelVersion.objects.filter(pk=version.pk).update(path="runs/elsewhere/model")
    assert "is not on this machine" in push(client_for(zed), version)
