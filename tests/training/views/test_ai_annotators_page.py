"""The pages of AI annotators and their REST resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate.models import AiAnnotator, AuditEntry, Project
from tests.training.ai_annotators.conftest import PAIRS, PRINCIPLES, annotator, judged, started
from tests.training.fake_endpoint import Server
from training.ai_annotators import ai_voting
from training.models import Run
from training.worker import tasks

__all__ = ["annotator", "judged"]
pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "/projects/desk/ai-annotators/"
API = "/api/v1/projects/desk/ai-annotators/"
ClientFor = Callable[[User], Client]
Api = Callable[[User], APIClient]


def wishes(server: Server, **others: Any) -> dict[str, Any]:
    usual = {"kind": "chat", "name": "Judge", "url": server.url, "model": "desk"}
    bounds = {"per_minute": 6000, "most_requests": 100, "most_tokens": 100_000, "longest": 16}
    return usual | bounds | {"constitution": PRINCIPLES} | others


def test_an_admin_adds_one_starts_it_and_reads_its_votes(
    judged: Project, server: Server, zed: User, client_for: ClientFor
) -> None:
    client = client_for(zed)
    assert "No AI annotators yet" in client.get(PAGE).content.decode()
    answer = client.post(PAGE, wishes(server))
    made = AiAnnotator.objects.get()
    address = f"{PAGE}{made.pk}/"
    assert answer.headers["Location"] == address and made.created_by == zed
    page = client.get(address).content.decode()
    assert PRINCIPLES in page and "5 pairs without its vote" in page
    assert 'name="most" value="5"' in page
    client.post(f"{address}start/", {"most": 10})
    assert "Waiting for a worker" in client.get(f"{address}progress/").content.decode()
    tasks.take_runs()
    assert client.get(f"{address}progress/").status_code == 286
    page = client.get(address).content.decode()
    assert "At rest" in page and "It has voted on every pair that it may vote on" in page
    spent = ai_voting.usage(made)
    in_all = f"{spent.tokens_in + spent.tokens_out:,}"
    assert f"{in_all} <small>of 100,000; {spent.tokens_in:,} in, {spent.tokens_out:,} out" in page
    client.post(f"{address}retire/")
    assert "Retired" in client.get(address).content.decode()
    done = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"ai-annotators", "ai-annotator-start", "ai-annotator-retire"} <= done


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "https://evil.example.org/v1"}, "not among the servers"),
        ({"constitution": "  "}, "Write the principles"),
        ({"model": ""}, "Name the model"),
        ({"most_requests": ""}, "This field is required"),
        ({"kind": "reward"}, "Choose the reward model"),
        ({"per_minute": 0}, "greater than or equal to 1"),
        ({"name": "x" * 81}, "at most 80 characters"),
    ],
)
def test_a_wrong_wish_is_told_and_nothing_is_added(
    wrong: dict[str, Any],
    said: str,
    judged: Project,
    server: Server,
    zed: User,
    client_for: ClientFor,
) -> None:
    answer = client_for(zed).post(PAGE, wishes(server, **wrong))
    assert answer.status_code == 400 and said in answer.content.decode()
    assert not AiAnnotator.objects.exists()


def test_reviewers_look_and_do_not_touch(
    annotator: AiAnnotator, olga: User, client_for: ClientFor
) -> None:
    client, address = client_for(olga), f"{PAGE}{annotator.pk}/"
    page = client.get(address).content.decode()
    assert PRINCIPLES in page and "Have it vote" not in page and "Retire it" not in page
    assert "Add one" not in client.get(PAGE).content.decode()


def test_a_failure_and_wrong_bounds_are_told(
    annotator: AiAnnotator, zed: User, client_for: ClientFor
) -> None:
    client, address = client_for(zed), f"{PAGE}{annotator.pk}/"
    started(annotator)
    Run.objects.update(state="failed", error="no server answers at <http://x>")
    page = client.get(address).content.decode()
    assert "Voting failed" in page and "no server answers at &lt;http://x&gt;" in page
    assert client.post(f"{address}start/", {"most": 0}).status_code == 400
    assert client.post(f"{address}bounds/", {"per_minute": 5}).status_code == 400
    good = {"per_minute": 5, "most_requests": 8, "most_tokens": 900}
    client.post(f"{address}bounds/", good)
    assert AiAnnotator.objects.filter(**good).exists()
    assert "It had ended already" in client.post(f"{address}stop/", follow=True).content.decode()


def test_rest_adds_starts_stops_and_tells_figures(
    judged: Project, server: Server, zed: User, api_for: Api
) -> None:
    client = api_for(zed)
    given = {name: value for name, value in wishes(server).items() if name != "longest"}
    made = client.post(API, given, format="json")
    assert made.status_code == 201
    address = f"{API}{made.json()['id']}/"
    assert client.post(API, given, format="json").json()["errors"]["name"]
    answer = client.post(f"{address}start/", {"pairs": 2}, format="json")
    assert (answer.status_code, answer.json()["run"]["state"]) == (202, "queued")
    assert client.post(f"{address}start/").status_code == 409
    assert client.post(f"{address}stop/").json()["run"]["state"] == "cancelled"
    client.post(f"{address}start/")
    tasks.take_runs()
    told = client.get(address).json()
    assert told["votes"] == {"a": PAIRS, "b": 0, "tie": 0, "none": 0}
    assert told["requests"] == 2 * PAIRS and told["run"]["state"] == "done"
    assert told["agreement"] == {"pairs": 0, "same": 0, "rate": None, "ci95": None}
    assert client.get(API).json() == [told]
    changed = client.patch(address, {"most_requests": 7, "retired": True}, format="json").json()
    assert changed["most_requests"] == 7 and changed["retired"]
    assert client.post(f"{address}start/").status_code == 409
    assert client.patch(address, {"per_minute": 99_999}, format="json").status_code == 400
    wrong = wishes(server, name="Other", kind="reward", project="desk", version="reward-9")
    assert client.post(API, wrong, format="json").status_code == 400


def test_a_wrong_bound_retires_nobody(annotator: AiAnnotator, zed: User, api_for: Api) -> None:
    wrong = {"retired": True, "per_minute": 99_999}
    answer = api_for(zed).patch(f"{API}{annotator.pk}/", wrong, format="json")
    annotator.refresh_from_db()
    assert answer.status_code == 400 and annotator.retired_at is None
