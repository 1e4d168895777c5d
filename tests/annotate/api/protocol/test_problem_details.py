"""Errors of every kind are problem details."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from rest_framework.test import APIClient

from annotate.api.protocol.problem_details import ProblemDetails, problem
from annotate.models import Project

Api = Callable[[User], APIClient]
DESK = "/api/v1/projects/desk/"


def test_an_error_of_fields_names_them_all(project: Project, zed: User, api_for: Api) -> None:
    body = {"prompts": [{"messages": [{"role": "king", "content": 7}], "tags": "x", "what": 1}]}
    said = api_for(zed).post(f"{DESK}prompts/", body, format="json")
    assert said.headers["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "instance", "errors"} == set(said.json())
    assert said.json()["errors"] == {"prompts.0.what": ["There is no such field."]}
    del body["prompts"][0]["what"]
    errors = api_for(zed).post(f"{DESK}prompts/", body, format="json").json()["errors"]
    assert set(errors) == {
        "prompts.0.messages.0.role",
        "prompts.0.messages.0.content",
        "prompts.0.tags",
    }


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("get", f"{DESK}nothing/", {}, 404),
        ("get", f"{DESK}pairs/999/", {}, 404),
        ("delete", f"{DESK}pairs/", {}, 405),
        ("post", "/api/v1/docs/", {}, 405),
        ("get", f"{DESK}pairs/", {"Accept": "text/html"}, 406),
        ("post", f"{DESK}guidelines/", {"Content-Type": "text/csv"}, 415),
        ("get", f"{DESK}pairs/?colour=red", {}, 400),
        ("get", f"{DESK}pairs/?cursor=x", {}, 400),
    ],
)
def test_every_kind_of_refusal_is_a_problem(
    project: Project,
    zed: User,
    api_for: Api,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    client = api_for(zed)
    kind = headers.pop("Content-Type", "application/json")
    options = {} if method == "get" else {"data": "x", "content_type": kind}
    answer = getattr(client, method)(path, headers=headers, **options)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status and said["detail"] and said["instance"] == path.split("?")[0]
    assert int(answer.headers.get("Content-Length", len(answer.content))) == len(answer.content)


def test_a_body_that_is_too_long_is_413(project: Project, zed: User, api_for: Api) -> None:
    body = b'{"text": "' + b"x" * 3_000_000 + b'"}'
    answer = api_for(zed).post(f"{DESK}guidelines/", body, content_type="application/json")
    assert answer.status_code == 413 and "2,097,152 bytes" in answer.json()["detail"]


def test_too_many_requests_are_429_and_say_when_to_come_back(
    project: Project, zed: User, api_for: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from annotate.api.rate_limits import ImportThrottle

    monkeypatch.setattr(ImportThrottle, "rate", "1/hour", raising=False)
    monkeypatch.setattr(ImportThrottle, "get_rate", lambda self: "1/hour")
    client = api_for(zed)
    answers = [client.post(f"{DESK}prompts/", {}, format="json") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [400, 429]
    assert int(answers[1].headers["Retry-After"]) > 0 and "detail" in answers[1].json()


def test_more_than_detail_stays_beside_it(project: Project, zed: User, api_for: Api) -> None:
    answer = api_for(zed).post(f"{DESK}import/", b"{}", content_type="application/x-ndjson")
    said = answer.json()
    assert said["status"] == 400 and said["accepted"] == 0 and said["problems"][0]["line"] == 1


def test_pages_are_left_as_they_are(client: Client, ann: User) -> None:
    client.force_login(ann)
    assert client.get("/nothing/").headers["Content-Type"].startswith("text/html")


def test_an_answer_without_words_of_its_own_is_a_problem_too() -> None:
    answer = HttpResponse("<h1>Bad Request</h1>", status=400)
    request = HttpRequest()
    request.path = "/api/v1/pröjects/"
    shaped = ProblemDetails(lambda request: answer)(request)
    assert shaped.headers["Content-Type"] == "application/problem+json"
    assert problem(400, request.path, None) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "Bad Request.",
        "instance": "/api/v1/pr%C3%B6jects/",
    }
