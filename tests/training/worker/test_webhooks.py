"""Webhooks are sent by the short worker: triggered by their events, recovered by the tick."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Project, WebhookDelivery
from annotate.webhooks import outbox
from tests.annotate.webhooks.receiver import Receiver, hook_of, receiving
from tests.training.worker.test_jobs import executed
from training.runs.task_queue import huey
from training.worker import scheduler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    with receiving() as server:
        yield server


def test_an_event_triggers_the_short_worker_once_it_is_committed(
    home: Path, project: Project, receiver: Receiver
) -> None:
    hook = hook_of(project, receiver.url)
    with transaction.atomic():
        outbox.tell_test(hook)
        assert huey("short").pending_count() == 0
    executed()
    assert len(receiver.got) == 1


def test_the_minute_tick_recovers_lost_triggers_and_tries_whose_time_has_come(
    home: Path, project: Project, receiver: Receiver
) -> None:
    outbox.tell_test(hook_of(project, receiver.url))
    huey("short").flush()
    WebhookDelivery.objects.update(tries=3, due_at=timezone.now())
    scheduler.recover_webhooks()
    executed()
    assert len(receiver.got) == 1
    scheduler.recover_webhooks()
    assert huey("short").pending_count() == 0
