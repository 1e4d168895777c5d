"""Deliveries: signed, sent, tried again, given up."""

from __future__ import annotations

import base64
import hmac
import socket
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks import Webhook as Verifier

from annotate.models import Project, Webhook, WebhookDelivery
from annotate.webhooks import outbox
from annotate.webhooks.checked_http_post import MOST_READ, NotAnswered, post
from annotate.webhooks.delivery import (
    BACKOFF,
    DAYS_OF_FAILURE,
    KEPT,
    UNDER_WAY,
    drop_old_deliveries,
    headers,
    seconds_to_next_webhook,
    send_again,
    send_next_webhook,
)
from tests.annotate.webhooks.receiver import Receiver, hook_of
from tests.conftest import at_once


def send_all(now: datetime | None = None) -> None:
    while send_next_webhook(now):
        pass


def the_delivery() -> WebhookDelivery:
    return WebhookDelivery.objects.get()


def try_until_over(hook: Webhook) -> list[timedelta]:
    """Try at each time that is due; the waits between the tries."""
    waits, now = [], timezone.now()
    while (wait := seconds_to_next_webhook(now)) is not None:
        now += timedelta(seconds=wait)
        waits.append(timedelta(seconds=wait))
        send_next_webhook(now)
    return waits


def test_a_delivery_is_signed_as_standard_webhooks_says(
    project: Project, receiver: Receiver
) -> None:
    hook = hook_of(project, receiver.url)
    outbox.tell_test(hook)
    send_all()
    ((path, told, body),) = receiver.got
    payload = Verifier(hook.secret).verify(body, told)
    assert path == "/hook" and payload["type"] == "webhook.test"
    assert payload["data"] == {
        "project": "desk",
        "url": f"https://pairs.example/projects/desk/webhooks/{hook.pk}/",
    }
    assert told["content-type"] == "application/json"
    signed = f"{told['webhook-id']}.{told['webhook-timestamp']}.{body}".encode()
    key = base64.b64decode(hook.secret.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert told["webhook-signature"] == f"v1,{digest}"
    delivery = the_delivery()
    assert (delivery.state, delivery.status, delivery.answer) == ("delivered", 200, "thanks")
    assert told["webhook-id"] == delivery.message_id


def test_for_a_day_after_a_rotation_both_secrets_verify(
    project: Project, receiver: Receiver
) -> None:
    hook = hook_of(project, receiver.url)
    former = hook.secret
    new = hook.rotate()
    outbox.tell_test(hook)
    send_all()
    ((_, told, body),) = receiver.got
    for secret in (former, new):
        assert Verifier(secret).verify(body, told)
    later = headers(the_delivery(), timezone.now() + timedelta(days=1, minutes=1))
    assert later["webhook-signature"].count("v1,") == 1


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_refused_delivery_is_tried_again_under_the_same_id(
    project: Project, receiver: Receiver, status: int
) -> None:
    hook = hook_of(project, receiver.url)
    outbox.tell_test(hook)
    receiver.status = status
    now = timezone.now()
    send_all(now)
    delivery = the_delivery()
    assert (delivery.state, delivery.tries, delivery.status) == ("waiting", 1, status)
    hook.refresh_from_db()
    assert hook.failing_since == now
    receiver.status = 204
    send_all(now + timedelta(seconds=7))
    hook.refresh_from_db()
    assert the_delivery().state == "delivered" and hook.failing_since is None
    ids = {told["webhook-id"] for _, told, _ in receiver.got}
    assert len(receiver.got) == 2 and len(ids) == 1


def test_tries_follow_the_recommended_schedule_and_end_after_three_days(
    project: Project, receiver: Receiver
) -> None:
    hook = hook_of(project, receiver.url)
    outbox.tell_test(hook)
    receiver.status = 500
    first, *waits = try_until_over(hook)
    assert first == timedelta() and len(waits) == len(BACKOFF)
    for wait, least in zip(waits, BACKOFF, strict=True):
        # A hook that goes on failing is left alone for a minute at least.
        assert least <= wait <= max(least * 1.2, timedelta(minutes=1)) + timedelta(seconds=1)
    assert the_delivery().state == "given_up" and len(receiver.got) == 10
    hook.refresh_from_db()
    assert hook.active and hook.failing_since is not None


def test_a_hook_that_nothing_reached_for_days_is_disabled_when_a_delivery_is_given_up(
    project: Project, receiver: Receiver
) -> None:
    hook = hook_of(project, receiver.url)
    hook.failing_since = timezone.now() - DAYS_OF_FAILURE
    hook.save()
    outbox.tell_test(hook)
    WebhookDelivery.objects.update(tries=len(BACKOFF))
    receiver.status = 500
    send_all()
    hook.refresh_from_db()
    assert not hook.active and "five days" in hook.disabled_because


def test_410_gone_disables_the_hook_and_what_waits_rests(
    project: Project, receiver: Receiver
) -> None:
    hook = hook_of(project, receiver.url)
    outbox.tell_test(hook)
    outbox.tell_test(hook)
    receiver.status = 410
    send_all(timezone.now() + timedelta(days=1))
    hook.refresh_from_db()
    assert not hook.active and "410" in hook.disabled_because
    assert len(receiver.got) == 1 and seconds_to_next_webhook() is None


def test_a_redirect_is_not_followed(project: Project, receiver: Receiver) -> None:
    outbox.tell_test(hook_of(project, receiver.url))
    receiver.status, receiver.location = 307, receiver.url + "/elsewhere"
    send_all()
    assert [path for path, _, _ in receiver.got] == ["/hook"]
    assert the_delivery().status == 307 and the_delivery().state == "waiting"


def test_nobody_listening_is_said_in_words(project: Project, receiver: Receiver) -> None:
    outbox.tell_test(hook_of(project, "http://127.0.0.1:1/"))
    send_all()
    assert the_delivery().status is None
    assert the_delivery().error.startswith("The connection failed")


def test_of_a_long_answer_the_beginning_is_read_and_kept(
    project: Project, receiver: Receiver
) -> None:
    receiver.body = b"\x00\xff" + b"x" * (50 * MOST_READ)
    assert len(post(receiver.url, b"{}", {}).text) <= MOST_READ
    outbox.tell_test(hook_of(project, receiver.url))
    send_all()
    assert the_delivery().state == "delivered" and len(the_delivery().answer) == 200


def test_an_answer_that_trickles_is_ended_at_the_deadline(receiver: Receiver) -> None:
    receiver.body, receiver.pause = b"x" * 50, 0.1
    began = time.monotonic()
    answer = post(receiver.url, b"{}", {}, timeout=0.3)
    assert answer.status == 200 and time.monotonic() - began < 2


def test_silence_is_ended_at_the_deadline(receiver: Receiver) -> None:
    receiver.shutdown()
    with pytest.raises(NotAnswered, match=r"No answer within 0\.2 seconds"):
        post(receiver.url, b"{}", {}, timeout=0.2)


def test_a_failing_hook_does_not_hold_up_another(project: Project, receiver: Receiver) -> None:
    dead, live = hook_of(project, "http://127.0.0.1:1/"), hook_of(project, receiver.url)
    for hook in (dead, dead, dead, live):
        outbox.tell_test(hook)
    send_all()
    assert len(receiver.got) == 1
    assert sorted(WebhookDelivery.objects.values_list("tries", flat=True)) == [0, 0, 1, 1]


def test_a_test_of_a_failing_hook_is_sent_at_once(project: Project, receiver: Receiver) -> None:
    hook = hook_of(project, receiver.url)
    receiver.status = 500
    for sent in (1, 2):
        outbox.tell_test(hook)
        send_all()
        assert len(receiver.got) == sent
        receiver.status = 200


def test_what_a_killed_worker_had_begun_is_sent_by_the_next(
    project: Project, receiver: Receiver
) -> None:
    outbox.tell_test(hook_of(project, receiver.url))
    began = timezone.now()
    WebhookDelivery.objects.update(due_at=began + UNDER_WAY, tries=1, tried_at=began)
    send_all(began)
    assert receiver.got == []
    send_all(began + UNDER_WAY)
    assert the_delivery().state == "delivered" and the_delivery().tries == 2


@pytest.mark.django_db(transaction=True)
def test_of_several_senders_at_once_one_sends(project: Project, receiver: Receiver) -> None:
    outbox.tell_test(hook_of(project, receiver.url))
    results = at_once(*[send_next_webhook] * 4)
    assert not [one for one in results if isinstance(one, BaseException)]
    assert len(receiver.got) == 1


def test_a_person_sends_a_delivery_again_under_its_id(project: Project, receiver: Receiver) -> None:
    outbox.tell_test(hook_of(project, receiver.url))
    send_all()
    assert send_again(the_delivery()) and not send_again(the_delivery())
    send_all()
    first, second = (told["webhook-id"] for _, told, _ in receiver.got)
    assert first == second and the_delivery().state == "delivered"


def test_an_inactive_hook_rests_and_goes_on(project: Project, receiver: Receiver) -> None:
    hook = hook_of(project, receiver.url)
    outbox.tell_test(hook)
    Webhook.objects.update(active=False)
    send_all()
    Webhook.objects.update(active=True)
    assert receiver.got == []
    send_all()
    assert len(receiver.got) == 1


def test_deliveries_of_a_month_ago_are_forgotten(project: Project) -> None:
    hook = hook_of(project)
    outbox.tell_test(hook)
    outbox.tell_test(hook)
    old = WebhookDelivery.objects.order_by("pk")[:1].get()
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - KEPT)
    drop_old_deliveries()
    assert (
        WebhookDelivery.objects.exclude(pk=old.pk).count() == WebhookDelivery.objects.count() == 1
    )


def test_the_host_keeps_its_name_at_the_address_that_was_checked(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS is asked once: its second answer could be another one."""
    settings.WEBHOOK_HOSTS = ["hooks.example"]
    asked, ask = [], socket.getaddrinfo

    def resolve(host: str, *rest: Any, **how: Any) -> Any:
        asked.append(host)
        return ask("127.0.0.1", *rest, **how)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    post(f"http://hooks.example:{receiver.server_port}/", b"{}", {})
    ((_, told, _),) = receiver.got
    assert told["host"] == f"hooks.example:{receiver.server_port}"
    assert asked.count("hooks.example") == 1
