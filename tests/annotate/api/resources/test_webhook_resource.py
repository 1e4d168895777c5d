"""Webhooks by REST: list, make, change, delete, a new secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from annotate.models import Project, Webhook
from tests.annotate.webhooks.receiver import hook_of

HOOKS = "/api/v1/projects/desk/webhooks/"
ASKED = {"url": "https://hooks.example/a", "events": ["job.done"]}
ApiFor = Callable[[User], APIClient]


def test_a_script_makes_changes_and_deletes_a_webhook(api_for: ApiFor, zed: User) -> None:
    script = api_for(zed)
    made = script.post(HOOKS, ASKED, format="json")
    body = made.json()
    secret, address = body.pop("secret"), made["Location"]
    assert made.status_code == 201 and secret == Webhook.objects.get().secret
    assert body["active"] and body["events"] == ["job.done"] and body["disabled_because"] == ""
    assert script.get(HOOKS).json() == {"next": None, "previous": None, "results": [body]}
    changed = script.patch(address, {"active": False}, format="json").json()
    assert changed == {**body, "active": False} == script.get(address).json()
    rotated = script.post(f"{address}secret/").json()["secret"]
    assert rotated == Webhook.objects.get().secret != secret
    assert script.delete(address).status_code == 204
    assert script.get(address).status_code == 404


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("url", "http://hooks.example/"), ("url", "https://169.254.169.254/"), ("url", 1)),
        *(("events", []), ("events", ["webhook.test"]), ("events", "job.done")),
        *(("active", "maybe"), ("secret", "whsec_mine")),
    ],
)
def test_wrong_values_are_refused_by_name(
    api_for: ApiFor, zed: User, project: Project, field: str, wrong: object
) -> None:
    hook = hook_of(project)
    for answer in (
        api_for(zed).post(HOOKS, {**ASKED, field: wrong}, format="json"),
        api_for(zed).patch(f"{HOOKS}{hook.pk}/", {field: wrong}, format="json"),
    ):
        assert answer.status_code == 400
        assert {name.partition(".")[0] for name in answer.json()["errors"]} == {field}
    assert Webhook.objects.count() == 1


def test_a_call_sent_again_makes_no_second_webhook_and_tells_no_secret_twice(
    api_for: ApiFor, zed: User
) -> None:
    script, key = api_for(zed), {"HTTP_IDEMPOTENCY_KEY": "once"}
    first, again = (script.post(HOOKS, ASKED, format="json", **key) for _ in range(2))
    assert first.json()["secret"] == Webhook.objects.get().secret
    assert again.status_code == 201 and again.json() == first.json() | {"secret": None}
