"""Every address of the product, for everybody who must not come in. A new address fails here
until somebody has said who may open it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver, reverse

from annotate.models import Project
from annotate.models.roles import Role

PUBLIC = {
    *("livez", "readyz", "metrics", "home", "login", "login-code", "logout", "enter", "invitation"),
    *("invitation-confirmed", "password-forgotten", "password-choose"),
    "password-choose-made",
    *("openid-begin", "openid-back"),
    *("api-schema", "api-docs"),
}
SIGNED_IN = {
    *("operators", "second-factor", "openid-connect", "openid-disconnect"),
    *("password", "projects", "project-new", "tokens", "token-revoke"),
    # A person's own places, in whatever project: tests/annotate/people/test_permissions.py.
    *("api-vote", "api-skip", "api-undo", "api-remark", "api-flag"),
    "api-projects",
}
ANNOTATOR = {"project-home", "label", "vote", "skip", "renew", "undo", "guidelines", "api-next"}
ANNOTATOR |= {"guidelines-read", "qualification", "qualification-question", "me", "message-read"}
ANNOTATOR |= {"my-votes", "my-vote", "my-rewrite"}
ANNOTATOR |= {"remark", "skip-reason", "flag", "key-list"}
ANNOTATOR |= {"api-my-votes", "api-guidelines"}
REVIEWER = {
    *("checks", "check", "quality", "quality-pairs", "data", "rounds", "rounds-progress"),
    *("annotators", "annotator", "batches", "batch", "leaderboard"),
    *("pair", "prompt", "adjudicate", "decide", "decide-undo", "flags-settle"),
    *("round", "round-progress", "round-curves", "models", "model"),
    *("models-compare", "compare-progress", "compare-report"),
    *("playground", "trial", "trial-progress", "trial-stop"),
    *("api-agreement", "api-rounds", "api-models", "schedule", "api-schedule"),
    *("active-learning", "api-active"),
    "api-round-settings",
    *("ai-annotators", "ai-annotator", "ai-annotator-progress"),
    *("api-ai-annotators", "api-ai-annotator"),
    *("api-prompts", "api-prompt", "api-completions", "api-completion", "api-pairs", "api-pair"),
    *("api-labels", "api-votes", "api-adjudications", "api-adjudication", "api-flags"),
    *("api-annotators", "api-annotator", "api-batches", "api-batch"),
}
ADMIN = {
    *("annotator-change", "payment", "batch-delete"),
    *("imports", "import", "import-progress", "import-columns", "import-start"),
    *("import-cancel", "import-undo", "import-report"),
    *("export", "export-start", "export-progress", "export-download", "export-cancel"),
    *("version", "project-settings", "settings-preview", "project-archive"),
    *("people", "invite", "invite-several", "revoke", "member", "announce", "token-end"),
    *("audit", "audit-download"),
    *("webhooks", "webhook", "webhook-test", "webhook-rotate", "webhook-delete", "webhook-again"),
    *("api-webhooks", "api-webhook-one", "api-webhook-secret"),
    *("schedule-pause", "round-new", "api-round-estimate"),
    *("round-start", "round-cancel", "round-retry", "ask-colleagues"),
    *(
        "write-completions",
        "writing-progress",
        "writing-sizes",
        "writing-start",
        "writing-cancel",
        "writing-go-on",
    ),
    *("api-completions-runs", "api-completions-run"),
    *("api-completions-cancel", "api-completions-go-on"),
    *("compare-start", "compare-cancel"),
    *("ai-annotator-start", "ai-annotator-stop", "ai-annotator-bounds", "ai-annotator-retire"),
    *("api-ai-annotator-start", "api-ai-annotator-stop"),
    *("model-promote", "model-demote", "model-retire", "model-download", "model-push"),
    *("models-prune", "trial-queue"),
    *("model-add", "model-check", "model-check-progress", "model-check-cancel"),
    *("model-check-go-on", "model-check-remove"),
    *("api-model-check", "api-model-check-cancel", "api-model-check-retry"),
    *("api-exports", "api-export-one", "api-export-cancel", "api-export-download"),
    *("api-versions", "api-version", "api-jobs", "api-invitations"),
    *("api-export", "api-import", "api-imports", "api-import-one", "api-import-start"),
    *("api-import-cancel", "api-import-undo", "api-import-report", "api-uploads", "api-upload"),
}
LOWEST = (
    dict.fromkeys(ANNOTATOR, Role.ANNOTATOR)
    | dict.fromkeys(REVIEWER, Role.REVIEWER)
    | dict.fromkeys(ADMIN, Role.ADMIN)
)
VALUES: dict[str, object] = {"slug": "desk", "token": UUID(int=7), "uuid": UUID(int=7)}
TOO_LOW = [
    (name, who)
    for name, role in sorted(LOWEST.items())
    for who, own in (("ann", Role.ANNOTATOR), ("olga", Role.REVIEWER))
    if own not in Role.at_least(role)
]


def patterns() -> Iterator[tuple[str, list[str]]]:
    """(name, names of the parameters) of every address."""
    found = [get_resolver()]
    while found:
        for pattern in found.pop().url_patterns:
            if hasattr(pattern, "url_patterns"):
                found.append(pattern)
            else:
                yield pattern.name, list(pattern.pattern.converters)


PARAMETERS = dict(patterns())


def answers(client: Client, name: str) -> list[HttpResponse]:
    path = reverse(name, kwargs={key: VALUES.get(key, 1) for key in PARAMETERS[name]})
    return [client.get(path), client.post(path)]


def codes(client: Client, name: str) -> set[int]:
    return {answer.status_code for answer in answers(client, name)}


def test_somebody_has_said_who_may_open_each_address() -> None:
    assert set(PARAMETERS) == PUBLIC | SIGNED_IN | set(LOWEST)
    assert {name for name, keys in PARAMETERS.items() if "slug" in keys} == set(LOWEST)


@pytest.mark.parametrize("name", sorted(SIGNED_IN | set(LOWEST)))
def test_a_visitor_gets_nowhere(client: Client, project: Project, name: str) -> None:
    for answer in answers(client, name):
        sent_to = answer.headers.get("Location", "")
        assert answer.status_code == 401 or sent_to.startswith("/accounts/login/?next=")


@pytest.mark.parametrize("name", sorted(LOWEST))
def test_a_stranger_finds_nothing_in_a_project(
    client_for: Callable[[User], Client], eve: User, project: Project, name: str
) -> None:
    found = codes(client_for(eve), name)
    assert found <= {404, 405} and 404 in found


@pytest.mark.parametrize(("name", "who"), TOO_LOW)
def test_a_member_stays_below_their_role(
    client_for: Callable[[User], Client],
    project: Project,
    request: pytest.FixtureRequest,
    name: str,
    who: str,
) -> None:
    found = codes(client_for(request.getfixturevalue(who)), name)
    assert found <= {403, 405} and 403 in found


def test_a_number_that_no_database_can_hold_is_no_error(
    client_for: Callable[[User], Client], root: User, project: Project
) -> None:
    client = client_for(root)
    with_numbers = {name for name, keys in PARAMETERS.items() if {*keys} - {*VALUES}}
    for name in sorted(with_numbers - PUBLIC):
        path = reverse(name, kwargs={key: VALUES.get(key, 2**100) for key in PARAMETERS[name]})
        for method in ("get", "post", "patch", "delete"):
            assert getattr(client, method)(path).status_code < 500, (method, path)
