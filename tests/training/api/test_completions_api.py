from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from annotate.models import Project
from tests.training.completions.conftest import PROMPTS, asked
from tests.training.fake_endpoint import Server
from training.worker import tasks

Api = Callable[[User], APIClient]
RUNS = "/api/v1/projects/desk/completions-runs/"

__all__ = ["asked"]


@pytest.mark.django_db(transaction=True)
def test_a_run_is_started_polled_and_read(
    asked: Project, server: Server, zed: User, api_for: Api
) -> None:
    client = api_for(zed)
    answer = client.post(RUNS, {"url": server.url, "model": "desk", "price_in": 10}, format="json")
    assert answer.status_code == 202 and answer.json()["state"] == "queued"
    address = f"{RUNS}{answer.json()['run']}/"
    assert client.post(RUNS, {"url": server.url, "model": "x"}, format="json").status_code == 409
    tasks.take_runs()
    told = client.get(address).json()
    assert (told["state"], told["done"], told["total"]) == ("done", PROMPTS * 2, PROMPTS * 2)
    assert (told["completions"], told["pairs"], told["refused"]) == (PROMPTS * 2, PROMPTS, {})
    assert told["usage"]["tokens_in"] == 7 * PROMPTS * 2
    assert told["usage"]["cost"] == pytest.approx(7 * PROMPTS * 2 * 10 / 1e6)
    assert client.get(RUNS).json() == [told]
    assert client.post(f"{address}go-on/").status_code == 409
    again = client.post(RUNS, {"url": server.url, "model": "desk"}, format="json")
    assert again.status_code == 409 and "has completions already" in again.json()["detail"]


def test_a_run_is_cancelled_and_goes_on(
    asked: Project, server: Server, zed: User, api_for: Api
) -> None:
    client = api_for(zed)
    made = client.post(RUNS, {"url": server.url, "model": "desk"}, format="json").json()
    address = f"{RUNS}{made['run']}/"
    assert client.post(f"{address}cancel/").json()["state"] == "cancelled"
    answer = client.post(f"{address}go-on/")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://evil.example.org/v1", "model": "x"}, "url"),
        ({"model": "x"}, "url"),
        ({"source": "policy-9"}, "source"),
        ({"per_prompt": 99}, "per_prompt"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_a_bad_wish_is_400_and_names_its_field(
    body: dict[str, object], field: str, asked: Project, zed: User, api_for: Api
) -> None:
    answer = api_for(zed).post(RUNS, body, format="json")
    assert answer.status_code == 400 and field in answer.json()["errors"]


def test_only_admins_see_and_start_them(
    asked: Project, server: Server, olga: User, eve: User, api_for: Api
) -> None:
    assert api_for(olga).get(RUNS).status_code == 403
    assert api_for(olga).post(RUNS, {"url": server.url, "model": "x"}).status_code == 403
    assert api_for(eve).get(RUNS).status_code == 404
