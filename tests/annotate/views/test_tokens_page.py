"""API tokens made and revoked on a page, and those that reach a project on the page of people."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import ApiToken, Membership, Project

TOKENS = "/accounts/tokens/"
PEOPLE = "/projects/desk/people/"
ASKED = {"name": "nightly", "scopes": ["vote"], "days": "7", "project": ""}
ClientFor = Callable[[User], Client]


def status(secret: str, slug: str = "desk") -> int:
    script = APIClient()
    script.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
    return script.post(f"/api/v1/projects/{slug}/next/", {}, format="json").status_code


def test_a_person_makes_a_token_sees_its_secret_once_and_revokes_it(
    client_for: ClientFor, ann: User, project: Project
) -> None:
    browser = client_for(ann)
    html = browser.post(TOKENS, {**ASKED, "project": str(project.pk)}).content.decode()
    secret, curl = re.findall("<code>(.+?)</code>", html)
    assert status(secret) == 204
    assert secret in curl and "/api/v1/projects/desk/next/" in curl
    token = ApiToken.objects.get()
    assert (token.name, token.scopes, token.project) == ("nightly", ["vote"], project)
    assert token.expires_at is not None
    assert timedelta(days=6.9) < token.expires_at - timezone.now() < timedelta(days=7)
    again = browser.get(TOKENS).content.decode()
    assert secret not in again and "nightly" in again and token.prefix in again
    browser.post(f"{TOKENS}{token.pk}/revoke/")
    assert status(secret) == 401


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": []}, {"scopes": ["all"]}, {"days": "0"}, {"days": "9999"}, {"name": ""}],
)
def test_a_token_asked_for_wrongly_is_not_made(
    client_for: ClientFor, ann: User, wrong: dict[str, object]
) -> None:
    answer = client_for(ann).post(TOKENS, {**ASKED, **wrong})
    assert answer.status_code == 400 and b'class="errors"' in answer.content
    assert not ApiToken.objects.exists()


def test_a_token_cannot_be_made_for_a_foreign_project(
    client_for: ClientFor, eve: User, project: Project
) -> None:
    asked = {**ASKED, "project": str(project.pk)}
    assert client_for(eve).post(TOKENS, asked).status_code == 400


def test_nobody_revokes_a_foreign_token(client_for: ClientFor, ann: User, ben: User) -> None:
    token, _ = ApiToken.issue(ann)
    assert client_for(ben).post(f"{TOKENS}{token.pk}/revoke/").status_code == 404
    assert ApiToken.objects.exists()


def test_an_expired_token_is_listed_as_such(client_for: ClientFor, ann: User) -> None:
    ApiToken.issue(ann, name="old", lifetime=-timedelta(days=1))
    html = client_for(ann).get(TOKENS).content.decode()
    assert "old" in html and "expired" in html and ">Remove<" in html


def test_an_admin_ends_a_tokens_access_to_the_project_and_to_no_other(
    client_for: ClientFor, ann: User, zed: User, project: Project
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann)
    token, secret = ApiToken.issue(ann, name="script", scopes=["read", "vote"])
    ApiToken.issue(ann, name="elsewhere", project=other)
    admin = client_for(zed)
    html = admin.get(PEOPLE).content.decode()
    assert token.prefix in html and secret not in html and "read, vote" in html
    assert "elsewhere" not in html
    assert status(secret) == status(secret, "other") == 204
    assert admin.post(f"{PEOPLE}tokens/{token.pk}/end/", follow=True).status_code == 200
    assert (status(secret), status(secret, "other")) == (404, 204)
    assert token.prefix not in admin.get(PEOPLE).content.decode()
    assert "ended by an admin in Support desk" in client_for(ann).get(TOKENS).content.decode()


def test_an_admin_ends_no_token_that_does_not_reach_the_project(
    client_for: ClientFor, eve: User, zed: User
) -> None:
    token, _ = ApiToken.issue(eve)
    assert client_for(zed).post(f"{PEOPLE}tokens/{token.pk}/end/").status_code == 404
    assert not token.ended_in.exists()
