"""Deliveries in any order of what may happen to them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from annotate.models import Project, Webhook, WebhookDelivery
from annotate.webhooks import outbox, webhook_changes
from annotate.webhooks.delivery import (
    UNDER_WAY,
    seconds_to_next_webhook,
    send_again,
    send_next_webhook,
)
from tests.annotate.webhooks.receiver import Receiver, hook_of

ACTS = ("event", "200", "500", "410", "killed", "rest", "go on")
State = WebhookDelivery.State
QUICK = settings(
    max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


class World:
    """A hook, a clock, and the ids of the messages that were answered with 200."""

    def __init__(self, project: Project, receiver: Receiver) -> None:
        Webhook.objects.all().delete()
        receiver.got.clear()
        self.hook, self.receiver = hook_of(project, receiver.url), receiver
        self.now, self.arrived = timezone.now(), set[str]()

    def act(self, what: str) -> None:
        self.now += timedelta(hours=1)
        self.hook.refresh_from_db()
        if what == "event":
            outbox.tell_test(self.hook)
        elif what == "killed":
            begun = WebhookDelivery.objects.due(self.now).values_list("pk", flat=True)[:1]
            WebhookDelivery.objects.filter(pk__in=list(begun)).update(
                due_at=self.now + UNDER_WAY, tries=F("tries") + 1
            )
        elif what in ("rest", "go on"):
            active = what == "go on"
            webhook_changes.change(self.hook, seen_at="https://pairs.example/", active=active)
        else:
            self.send(int(what))

    def send(self, status: int) -> None:
        self.receiver.status = status
        before = len(self.receiver.got)
        while send_next_webhook(self.now):
            pass
        if status == 200:
            self.arrived |= {told["webhook-id"] for _, told, _ in self.receiver.got[before:]}

    def recover(self) -> None:
        """The hook is active, its receiver is well, and somebody sends again what was given up."""
        self.act("go on")
        for delivery in WebhookDelivery.objects.filter(state=State.GIVEN_UP):
            assert send_again(delivery)
        while (wait := seconds_to_next_webhook(self.now)) is not None:
            self.now += timedelta(seconds=wait)
            self.send(200)


@pytest.mark.django_db
@settings(QUICK)
@given(acts=st.lists(st.sampled_from(ACTS), max_size=16))
@example(acts=["event", *["500"] * 30])
@example(acts=["event", "killed", "410", "event", "go on", "killed"])
def test_an_event_is_called_delivered_when_it_arrived_and_each_arrives_in_the_end(
    project: Project, receiver: Receiver, acts: list[str]
) -> None:
    world = World(project, receiver)
    for what in acts:
        world.act(what)
        delivered = WebhookDelivery.objects.filter(state=State.DELIVERED)
        assert {one.message_id for one in delivered} == world.arrived
    world.recover()
    assert not WebhookDelivery.objects.exclude(state=State.DELIVERED).exists()
    assert {one.message_id for one in WebhookDelivery.objects.all()} == world.arrived
