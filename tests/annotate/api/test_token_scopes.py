"""API tokens are held to their scopes and their projects at every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.permissions import AllowAny
from rest_framework.test import APIClient

from annotate.api.authentication import WithinToken
from annotate.models import ApiToken, Assignment, Membership, Pair, Project, TokenScope
from annotate.people.token_scopes import scope_needed

MakePairs = Callable[..., list[Pair]]
VALUES: dict[str, object] = {"slug": "desk", "token": UUID(int=7), "uuid": UUID(int=7)}
NEXT = "/api/v1/projects/desk/next/"
OPEN = {"api-schema"}
VOTES = {f"api-{name}" for name in ("next", "vote", "skip", "undo", "remark", "flag")}
ADMIN = {
    *("api-rounds", "api-schedule", "api-webhooks", "api-webhook-one", "api-webhook-secret"),
    *("api-annotator", "api-invitations", "api-guidelines", "api-batches", "api-batch"),
    *("api-round-settings", "api-round-estimate"),
    *("api-completions-runs", "api-completions-cancel", "api-completions-go-on"),
    *("api-ai-annotators", "api-ai-annotator"),
    *("api-ai-annotator-start", "api-ai-annotator-stop"),
    *("api-models", "api-model-check", "api-model-check-cancel", "api-model-check-retry"),
}


def patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    """Every address whose view is REST framework's."""
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one)
        elif hasattr(one.callback, "cls"):
            yield one


CALLS = {str(one.name): one for one in patterns(get_resolver())}


def view_of(name: str) -> Any:
    return CALLS[name].callback.cls  # type: ignore[attr-defined]  # DRF puts it on its views.


def client(user: User, *scopes: str, project: Project | None = None) -> APIClient:
    made = APIClient()
    _, secret = ApiToken.issue(user, scopes=scopes, project=project)
    made.credentials(HTTP_AUTHORIZATION=f"Token {secret}")
    return made


@pytest.mark.parametrize("name", sorted(CALLS.keys() - OPEN))
def test_every_call_has_a_scope_and_a_token_with_another_one_is_refused(
    zed: User, name: str
) -> None:
    view = view_of(name)
    assert WithinToken in view.permission_classes and AllowAny not in view.permission_classes
    expected = "vote" if name in VOTES else "admin" if name in ADMIN else "write"
    assert scope_needed("POST", view()) == expected
    path = reverse(name, kwargs={key: VALUES.get(key, 1) for key in CALLS[name].pattern.converters})
    reader, writer = client(zed, "read"), client(zed, *set(TokenScope.values) - {"read"})
    for method in ("post", "patch", "put", "delete"):
        answer = getattr(reader, method)(path)
        assert answer.status_code == 403
        assert answer.json()["detail"] == (
            f"This call needs a token with the scope {expected}; this token's scopes: read."
        )
    assert "the scope read;" in writer.get(path).json()["detail"]


WRITES = ("post", "put", "patch", "delete")


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, one in sorted(CALLS.items())
        if one.callback.__module__.startswith("training.")
        and any(hasattr(view_of(name), method) for method in WRITES)
    ],
)
def test_every_call_that_spends_the_machine_says_which_scope_it_needs(name: str) -> None:
    assert "token_scope" in vars(view_of(name)), f"{name} would take a token that may import"


def test_a_token_that_only_votes_votes(ann: User, make_pairs: MakePairs) -> None:
    make_pairs(1)
    voter = client(ann, "vote")
    leased = voter.post(NEXT, {}, format="json").json()["assignment"]
    vote = f"/api/v1/assignments/{leased}/vote/"
    assert voter.post(vote, {"choice": "left"}, format="json").status_code == 200
    assert client(ann, "write").post(vote, {"choice": "left"}, format="json").status_code == 403


def test_no_scope_allows_more_than_the_role(ann: User, olga: User) -> None:
    assert client(ann, "admin").post("/api/v1/projects/desk/rounds/").status_code == 403
    assert client(olga, "write").post("/api/v1/projects/desk/import/").status_code == 403


def test_a_token_of_one_project_lists_that_alone(ann: User, project: Project) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann)
    for reached, slugs in ((other, ["other"]), (None, ["other", "desk"])):
        answer = client(ann, "read", project=reached).get("/api/v1/projects/")
        assert [one["slug"] for one in answer.json()["results"]] == slugs


def test_a_token_of_one_project_finds_no_other(
    ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann)
    inside, outside = (client(ann, "vote", project=one) for one in (project, other))
    leased = inside.post(NEXT, {}, format="json").json()["assignment"]
    vote = f"/api/v1/assignments/{leased}/vote/"
    for path in (NEXT, vote):
        assert outside.post(path, {"choice": "left"}, format="json").status_code == 404
    assert inside.post("/api/v1/projects/other/next/", {}, format="json").status_code == 404
    assert inside.post(vote, {"choice": "left"}, format="json").status_code == 200
    assert Assignment.objects.get().state == "voted"
