"""Sending what waits in the outbox: claim, sign, post, and try again by the spec's schedule.

Headers, signature and schedule are those of https://www.standardwebhooks.com.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max, Min
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone
from standardwebhooks import Webhook as Signer

from annotate.models import Webhook, WebhookDelivery
from annotate.models.integrations.webhook import webhook_waiting
from annotate.webhooks.checked_http_post import NotAnswered, post

State = WebhookDelivery.State

HOURS = (2, 5, 10, 14, 20, 24)
BACKOFF = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in HOURS),
)
"""From each failed try to the next; after the last of them a delivery is given up."""
JITTER = 0.2
"""At most so much longer: what failed together must not come back together."""
UNDER_WAY = timedelta(minutes=2)
"""A try that has said nothing for so long has lost its process."""
QUIET = timedelta(minutes=1)
"""Between tries of a hook that goes on failing."""
DAYS_OF_FAILURE = timedelta(days=5)
"""Without one delivery that arrived: a hook is disabled when one is given up."""
KEPT = timedelta(days=30)
GONE = "The receiver answered 410 Gone: it wants nothing any more."
DEAD = "Nothing arrived for five days."


def send_next_webhook(now: datetime | None = None) -> bool:
    """Try the delivery that has waited longest; False when none is due."""
    now = now or timezone.now()
    for delivery in WebhookDelivery.objects.due(now).select_related("webhook")[:1]:
        if _claim(delivery, now):
            _try(delivery, now)
        return True
    return False


def seconds_to_next_webhook(now: datetime | None = None) -> float | None:
    """Seconds until a delivery is due, 0 when one is; None when none waits."""
    now = now or timezone.now()
    quiet = Coalesce("webhook__quiet_until", "due_at")
    rows = WebhookDelivery.objects.waiting()
    soonest = rows.aggregate(at=Min(Greatest("due_at", quiet)))["at"]
    return None if soonest is None else max(0.0, (soonest - now).total_seconds())


def send_again(delivery: WebhookDelivery) -> bool:
    """Begin a delivery that is over anew, under the same id; False when it waits already."""
    over = WebhookDelivery.objects.filter(pk=delivery.pk).exclude(state=State.WAITING)
    if not over.update(state=State.WAITING, tries=0, due_at=timezone.now(), error="", answer=""):
        return False
    # A person asks for it now, also where the hook failed a moment ago.
    Webhook.objects.filter(pk=delivery.webhook_id).update(quiet_until=None)
    webhook_waiting.send(sender=WebhookDelivery)
    return True


def drop_old_deliveries(now: datetime | None = None) -> None:
    """Forget deliveries of a month ago."""
    WebhookDelivery.objects.filter(created_at__lt=(now or timezone.now()) - KEPT).delete()


def newest_tries(hooks: list[Webhook]) -> dict[int, datetime | None]:
    """The time of each hook's last try; None before the first."""
    rows = WebhookDelivery.objects.filter(webhook__in=hooks).values("webhook")
    return dict(rows.annotate(at=Max("tried_at")).values_list("webhook", "at"))


def _claim(delivery: WebhookDelivery, now: datetime) -> bool:
    """Take a delivery for one try. It is due again by itself should this process end meanwhile."""
    same = WebhookDelivery.objects.filter(
        pk=delivery.pk, state=State.WAITING, due_at=delivery.due_at
    )
    taken = same.update(due_at=now + UNDER_WAY, tries=F("tries") + 1, tried_at=now)
    delivery.tries += 1
    return bool(taken)


def _try(delivery: WebhookDelivery, now: datetime) -> None:
    try:
        answer = post(delivery.webhook.url, delivery.body.encode(), headers(delivery, now))
    except NotAnswered as problem:
        _failed(delivery, now, status=None, answer="", error=str(problem)[:300])
        return
    told = {"status": answer.status, "answer": answer.text[: WebhookDelivery.ANSWER], "error": ""}
    if 200 <= answer.status < 300:
        _arrived(delivery, told)
    else:
        _failed(delivery, now, **told)


def headers(delivery: WebhookDelivery, now: datetime) -> dict[bytes | str, bytes | str]:
    """The headers of a try at `now`: after a rotation signed by the former secret as well."""
    signatures = [
        Signer(secret).sign(delivery.message_id, now, delivery.body)
        for secret in delivery.webhook.signing_secrets(now)
    ]
    return {
        "Content-Type": "application/json",
        "User-Agent": "Pairloop",
        "webhook-id": delivery.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _arrived(delivery: WebhookDelivery, told: dict[str, object]) -> None:
    with transaction.atomic():
        _write(delivery, state=State.DELIVERED, due_at=None, **told)
        hook = Webhook.objects.filter(pk=delivery.webhook_id)
        hook.exclude(failing_since=None).update(failing_since=None, quiet_until=None)


def _failed(delivery: WebhookDelivery, now: datetime, **told: object) -> None:
    """Have it tried again, or give it up; a hook that nothing reaches is disabled."""
    last = delivery.tries > len(BACKOFF)
    due_at = None if last else now + BACKOFF[delivery.tries - 1] * random.uniform(1, 1 + JITTER)
    hook = Webhook.objects.filter(pk=delivery.webhook_id)
    quiet = BACKOFF[0] if delivery.webhook.failing_since is None else QUIET
    with transaction.atomic():
        _write(delivery, state=State.GIVEN_UP if last else State.WAITING, due_at=due_at, **told)
        hook.update(failing_since=Coalesce("failing_since", now), quiet_until=now + quiet)
        if told["status"] == 410:
            hook.update(active=False, disabled_because=GONE)
        elif last:
            long_dead = hook.filter(failing_since__lt=now - DAYS_OF_FAILURE)
            long_dead.update(active=False, disabled_because=DEAD)


def _write(delivery: WebhookDelivery, **fields: object) -> None:
    # Never save(): somebody may have deleted it, or taken over what took too long.
    WebhookDelivery.objects.filter(pk=delivery.pk, tries=delivery.tries).update(**fields)
