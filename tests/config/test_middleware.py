"""Headers and error answers that no single page is responsible for."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client, RequestFactory

from config.middleware import server_error

pytestmark = pytest.mark.django_db


def test_every_page_forbids_inline_scripts_and_anything_from_elsewhere(client: Client) -> None:
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_pages_are_kept_out_of_caches_and_static_files_are_not(client: Client) -> None:
    assert client.get("/accounts/login/").headers["Cache-Control"] == "no-store"
    assert "no-store" not in client.get("/static/css/base.css").headers["Cache-Control"]


def test_an_unknown_path_of_the_api_is_answered_in_json(client: Client, ann: User) -> None:
    client.force_login(ann)
    response = client.get("/api/v1/nothing/")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not found.",
        "instance": "/api/v1/nothing/",
    }


def test_an_unknown_page_is_answered_with_a_page(client: Client, ann: User) -> None:
    client.force_login(ann)
    response = client.get("/nothing/")
    assert response.status_code == 404 and b"<html" in response.content


@pytest.mark.parametrize("path", ["/projects/", "/api/v1/schema/"])
def test_a_database_that_is_away_asks_to_come_back(rf: RequestFactory, path: str) -> None:
    try:
        raise OperationalError("connection refused")
    except OperationalError:
        response = server_error(rf.get(path))
    assert response.status_code == 503 and response.headers["Retry-After"] == "2"
    assert "refused" not in response.content.decode()


def test_an_unforeseen_error_tells_nothing_of_the_inside(rf: RequestFactory) -> None:
    try:
        raise ValueError("secret detail")
    except ValueError:
        response = server_error(rf.get("/projects/"))
    assert response.status_code == 500 and "secret" not in response.content.decode()
