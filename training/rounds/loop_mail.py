"""Mail to the admins who want to know what the loop did by itself."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from annotate import exchange
from training.models import LoopEvent, LoopSchedule

OLDEST = timedelta(days=1)
"""An event that nobody could be told of in time is no news any more; the page has it."""


def tell_by_mail(project: exchange.Project) -> int:
    """Send what happened since the last time, in one mail to each; how many people it went to."""
    schedule = LoopSchedule.objects.filter(project=project).first()
    if schedule is None or not exchange.mail.configured():
        return 0
    # Who is no admin any more is told nothing.
    wanted = exchange.admins(project).filter(pk__in=schedule.mail_to.all()).exclude(email="")
    addresses = list(wanted.values_list("email", flat=True))
    events = LoopEvent.objects.filter(project=project).to_mail(timezone.now() - OLDEST)
    news = list(events.select_related("round").order_by("pk")) if addresses else []
    # Marked before it is sent: of two schedulers one sends, and nothing is mailed again and again.
    marked = [one for one in news if events.filter(pk=one.pk).update(mailed_at=timezone.now())]
    if not marked:
        return 0
    texts = dict.fromkeys(addresses, _text(project, schedule, marked))
    subject = f"{project.name}: {', '.join(dict.fromkeys(_title(one) for one in marked))}"
    return len(texts) - len(exchange.mail.send(subject, texts))


def _title(event: LoopEvent) -> str:
    return LoopEvent.Kind(event.kind).label.lower()


def _text(project: exchange.Project, schedule: LoopSchedule, events: list[LoopEvent]) -> str:
    lines = [
        f"{timezone.localtime(one.at, schedule.time_zone):%d %B %Y, %H:%M} "
        f"{LoopEvent.Kind(one.kind).label}{f' ({one.round})' if one.round else ''}: {one.text}"
        for one in events
    ]
    page = (settings.PUBLIC_URL or schedule.site) + reverse("schedule", args=[project.slug])
    return "\n\n".join([*lines, f"All of it, and whom it is mailed to: {page}\n"])
