"""Events of a project, written down for its webhooks in the transaction that makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.urls import reverse
from django.utils import timezone

from annotate.models import Pair, Webhook, WebhookDelivery, WebhookEvent
from annotate.models.integrations.webhook import webhook_waiting
from annotate.models.integrations.webhook_events import MANY_RESOLVED, TEST_EVENT

Links = Mapping[str, tuple[Any, ...]]
"""Field -> name of an address and what it takes after the project's slug."""
ONE_BY_ONE = 25
"""Pairs that one transaction may resolve with an event of each."""
LISTED = 1000
"""Pairs of one list: some 8 kB, as Standard Webhooks wants bodies below 20."""


def tell_webhooks(
    project_id: int, event: WebhookEvent, ids: Mapping[str, Any], links: Links
) -> None:
    """Write an event to the outbox of those of the project's webhooks that want it.

    Args:
        ids: numbers, names and states of things; never a text or an annotator.
    """
    tell_all(project_id, event, [(ids, links)])


def tell_all(
    project_id: int,
    event: WebhookEvent,
    events: Iterable[tuple[Mapping[str, Any], Links]],
    *,
    sent_as: str = "",
) -> None:
    """The same for several events of one kind, with as many statements as for one.

    `sent_as` is another type under which they go to those that want `event`.
    """
    hooks = Webhook.objects.filter(project=project_id, active=True).select_related("project")
    wanting = [hook for hook in hooks if event in hook.events]
    if wanting:
        _store(_delivery(hook, sent_as or event, *one) for one in events for hook in wanting)


def tell_resolved(pair_ids: Sequence[int]) -> None:
    """Tell of pairs of one project that are resolved now: one by one, or many as lists.

    An import resolves thousands while people wait for the database, and receivers would have to
    answer as many requests.
    """
    if not pair_ids:
        return
    project = Pair.objects.values_list("project_id", flat=True).get(pk=pair_ids[0])
    if len(pair_ids) <= ONE_BY_ONE:
        events = [({"pair": pk}, {"url": ("pair", pk)}) for pk in pair_ids]
        tell_all(project, WebhookEvent.PAIR_RESOLVED, events)
        return
    starts = range(0, len(pair_ids), LISTED)
    lists = [({"pairs": [*pair_ids[i : i + LISTED]]}, {"url": ("data",)}) for i in starts]
    tell_all(project, WebhookEvent.PAIR_RESOLVED, lists, sent_as=MANY_RESOLVED)


def tell_test(hook: Webhook) -> WebhookDelivery:
    """Send an event that says nothing, to see whether it arrives."""
    # Somebody waits for it, also where the hook failed a moment ago.
    Webhook.objects.filter(pk=hook.pk).update(quiet_until=None)
    delivery = _delivery(hook, TEST_EVENT, {}, {"url": ("webhook", hook.pk)})
    _store([delivery])
    return delivery


def _store(deliveries: Iterable[WebhookDelivery]) -> None:
    WebhookDelivery.objects.bulk_create(deliveries)
    webhook_waiting.send(sender=WebhookDelivery)


def _delivery(hook: Webhook, event: str, ids: Mapping[str, Any], links: Links) -> WebhookDelivery:
    slug = hook.project.slug
    addresses = {
        field: hook.site + reverse(name, args=[slug, *rest])
        for field, (name, *rest) in links.items()
    }
    payload = {
        "type": event,
        "timestamp": timezone.now().isoformat().replace("+00:00", "Z"),
        "data": {"project": slug, **ids, **addresses},
    }
    return WebhookDelivery(webhook=hook, event=event, body=json.dumps(payload))
