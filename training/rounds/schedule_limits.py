"""Reasons why a round that is due does not start by itself: a pause, quiet hours, bounds."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.forms import ModelForm
from django.utils import timezone

from annotate import exchange
from training.figures.run_progress import failed_gates
from training.models import LoopEvent, LoopSchedule, ModelVersion, Round, Run
from training.versions import people_decision

LONGEST_ROW = 100
"""Rounds that are looked back at."""


def schedule_of(project: exchange.Project) -> LoopSchedule:
    """The project's schedule; one without any bound, and not stored, where nobody made one."""
    schedule = LoopSchedule.objects.filter(project=project).first()
    return schedule or LoopSchedule(project=project)


def save(project: exchange.Project, form: ModelForm[LoopSchedule], *, site: str) -> None:
    """Keep what a checked form says: the triggers in the project, the bounds in its schedule.

    Args:
        site: scheme and host of links in mail, where none is known yet.
    """
    triggers = {name: form.cleaned_data[name] for name in ("round_after", "round_schedule")}
    with transaction.atomic():
        exchange.set_triggers(project, **triggers)
        kept = form.save(commit=False)
        kept.site = kept.site or site
        # Never all columns: a pause may have come since the row was read.
        chosen = [name for name in form.cleaned_data if name not in (*triggers, "mail_to")]
        kept.save(update_fields=[*chosen, "site"] if kept.pk else None)
        form.save_m2m()


def held(project: exchange.Project, now: datetime, schedule: LoopSchedule | None = None) -> str:
    """Why no round starts by itself now, in words for people; empty when one may.

    Args:
        schedule: the project's, where it was read already.
    """
    schedule = schedule or schedule_of(project)
    if schedule.paused_at is not None:
        return f"Rounds by themselves are paused: {schedule.paused_because}"
    if schedule.is_quiet(now):
        return f"Quiet hours: no round starts by itself before {schedule.quiet_until:%H:%M}."
    if schedule.most_rounds is None and schedule.most_hours is None:
        return ""
    rounds, hours = spent(project, now)
    if schedule.most_rounds is not None and rounds >= schedule.most_rounds:
        return f"{rounds} rounds in seven days: no more than that start by themselves."
    if schedule.most_hours is not None and hours >= schedule.most_hours:
        return (
            f"{hours:.1f} hours of training in seven days: {schedule.most_hours:g} are the bound."
        )
    return ""


def spent(project: exchange.Project, now: datetime) -> tuple[int, float]:
    """Rounds that began in the last seven days, and hours that their processes ran."""
    since = now - LoopSchedule.WINDOW
    runs = Run.objects.filter(
        project=project, round__isnull=False, started_at__isnull=False
    ).exclude(finished_at__lt=since)
    ran = timedelta()
    for started, finished in runs.values_list("started_at", "finished_at"):
        ran += (finished or now) - max(started or now, since)
    begun = project.rounds.filter(created_at__gte=since).exclude(state=Round.State.CANCELLED)
    return begun.count(), ran / timedelta(hours=1)


def without_gain(project: exchange.Project) -> int:
    """Latest rounds in a row that promoted no policy, since the loop was last resumed.

    A candidate that people or an admin have yet to decide on is no verdict, and is left out.
    """
    schedule = schedule_of(project)
    ended = project.rounds.filter(state__in=[Round.State.DONE, Round.State.FAILED])
    if schedule.resumed_at is not None:
        ended = ended.filter(created_at__gte=schedule.resumed_at)
    policies = ModelVersion.objects.policies().filter(run__round__in=ended)
    made = {one.run.round_id: one for one in policies.select_related("run", "project") if one.run}
    in_a_row = 0
    for round_ in ended.order_by("-number").values_list("pk", flat=True)[:LONGEST_ROW]:
        policy = made.get(round_)
        if policy is not None and policy.promoted_at is not None:
            break
        in_a_row += policy is None or not _waits(policy)
    return in_a_row


def pause_without_gain(project: exchange.Project) -> bool:
    """Pause the loop once as many rounds in a row as its bound says brought nothing."""
    schedule = schedule_of(project)
    if schedule.stop_after is None or schedule.paused_at is not None:
        return False
    rounds = without_gain(project)
    if rounds < schedule.stop_after:
        return False
    return pause(project, f"{rounds} rounds in a row promoted no policy.")


def pause(project: exchange.Project, because: str) -> bool:
    """Let no round start by itself; False when that was so already."""
    with transaction.atomic():
        LoopSchedule.objects.get_or_create(project=project)
        running = LoopSchedule.objects.filter(project=project, paused_at=None)
        if not running.update(paused_at=timezone.now(), paused_because=because):
            return False
        LoopEvent.objects.tell(project.pk, LoopEvent.Kind.PAUSED, because)
        links = {"url": ("schedule",), "api_url": ("api-schedule",)}
        event = exchange.WebhookEvent.LOOP_PAUSED
        exchange.tell_webhooks(project.pk, event, {}, links)
    return True


def resume(project: exchange.Project, because: str) -> bool:
    """Let rounds start by themselves again; False when they did."""
    with transaction.atomic():
        paused = LoopSchedule.objects.filter(project=project, paused_at__isnull=False)
        now = timezone.now()
        if not paused.update(paused_at=None, paused_because="", resumed_at=now):
            return False
        LoopEvent.objects.tell(project.pk, LoopEvent.Kind.RESUMED, because)
    return True


def _waits(policy: ModelVersion) -> bool:
    """True where an admin may yet decide for it, or people whose comparisons are not all done."""
    if policy.state != ModelVersion.State.CANDIDATE or not policy.gates:
        return False
    if policy.project.promotion == exchange.Project.Promotion.HUMAN:
        return not failed_gates(policy.gates)
    undecided = exchange.evaluation_undecided(policy.project, policy=policy.name)
    return undecided and people_decision.people_promote(policy)
