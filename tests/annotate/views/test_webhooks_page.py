"""Webhooks made, changed, tested and deleted on pages, with what became of their deliveries."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate.models import Project, Webhook, WebhookDelivery
from annotate.webhooks import outbox
from annotate.webhooks.webhook_changes import MOST
from tests.annotate.webhooks.receiver import hook_of

HOOKS = "/projects/desk/webhooks/"
ASKED = {"url": "https://hooks.example/a", "events": ["job.done", "pair.resolved"]}
ClientFor = Callable[[User], Client]


def test_an_admin_makes_a_webhook_and_sees_its_secret_once(
    client_for: ClientFor, zed: User
) -> None:
    admin = client_for(zed)
    html = admin.post(HOOKS, ASKED).content.decode()
    hook = Webhook.objects.get()
    assert re.findall("<code>(.+?)</code>", html) == [hook.secret]
    assert (hook.url, hook.events, hook.active) == (ASKED["url"], ASKED["events"], True)
    assert hook.created_by == zed and hook.site == "http://testserver"
    for address in (HOOKS, f"{HOOKS}{hook.pk}/"):
        again = admin.get(address).content.decode()
        assert hook.secret not in again and "https://hooks.example/a" in again


@pytest.mark.parametrize(
    "wrong",
    [{"url": "http://hooks.example/"}, {"url": "https://127.0.0.1/"}, {"events": []}, {"url": ""}],
)
def test_a_webhook_asked_for_wrongly_is_not_made(
    client_for: ClientFor, zed: User, wrong: dict[str, object]
) -> None:
    answer = client_for(zed).post(HOOKS, {**ASKED, **wrong})
    assert answer.status_code == 400 and b'class="errors"' in answer.content
    assert not Webhook.objects.exists()


def test_a_project_has_so_many_webhooks_and_no_more(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    Webhook.objects.bulk_create(Webhook(project=project, url=f"https://{i}/") for i in range(MOST))
    answer = client_for(zed).post(HOOKS, ASKED)
    assert answer.status_code == 400 and b"at most 20" in answer.content


def test_an_admin_changes_rotates_and_deletes_a_webhook(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    hook = hook_of(project, failing_since=timezone.now(), disabled_because="Gone.", active=False)
    admin, page, secret = client_for(zed), f"{HOOKS}{hook.pk}/", hook.secret
    assert "Gone." in admin.get(page).content.decode()
    admin.post(page, {**ASKED, "active": "on"})
    hook.refresh_from_db()
    assert hook.url == ASKED["url"] and hook.active
    assert hook.disabled_because == "" and hook.failing_since is None
    html = admin.post(f"{page}secret/").content.decode()
    hook.refresh_from_db()
    assert hook.secret != secret == hook.former_secret and hook.secret in html
    admin.post(f"{page}delete/")
    assert not Webhook.objects.exists()


def test_deliveries_are_listed_with_their_answer_and_sent_again(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    hook = hook_of(project)
    admin, page = client_for(zed), f"{HOOKS}{hook.pk}/"
    admin.post(f"{page}test/")
    delivery = WebhookDelivery.objects.get()
    assert (delivery.event, delivery.state) == ("webhook.test", "waiting")
    WebhookDelivery.objects.update(
        state="given_up", due_at=None, tries=10, status=500, answer="<b>broken</b>"
    )
    html = admin.get(page).content.decode()
    for shown in (delivery.message_id, "given up", "500", "&lt;b&gt;broken", "10×"):
        assert shown in html
    admin.post(f"{page}deliveries/{delivery.pk}/")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("waiting", 0)


def test_a_resting_webhook_sends_no_test(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    hook = hook_of(project, active=False)
    answer = client_for(zed).post(f"{HOOKS}{hook.pk}/test/", follow=True)
    assert b"Activate the webhook first." in answer.content
    assert not WebhookDelivery.objects.exists()


def test_webhooks_of_another_project_are_out_of_reach(client_for: ClientFor, zed: User) -> None:
    hook = hook_of(Project.objects.create(slug="other", name="Other"))
    outbox.tell_test(hook)
    delivery = WebhookDelivery.objects.get()
    admin, page = client_for(zed), f"{HOOKS}{hook.pk}/"
    for path in ("test/", "secret/", "delete/", f"deliveries/{delivery.pk}/"):
        assert admin.post(page + path).status_code == 404
    assert admin.get(page).status_code == 404
