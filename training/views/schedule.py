"""The loop by itself: when rounds start, what holds them back, and what happened."""

from __future__ import annotations

from datetime import MAXYEAR, datetime, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.models import LoopEvent, LoopSchedule
from training.rounds import automatic_start, schedule_limits
from training.rounds.schedule_form import ScheduleForm

PER_PAGE = 50
NEXT_TIMES = 3


@require_http_methods(["GET", "HEAD", "POST"])
def schedule(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The schedule and the events (reviewers). POST changes the schedule (admins)."""
    role = "admin" if request.method == "POST" else "reviewer"
    project = exchange.project_or_404(request, slug, role)
    kept = schedule_limits.schedule_of(project)
    form = ScheduleForm(request.POST or None, instance=kept, project=project)
    if request.method == "POST" and form.is_valid():
        schedule_limits.save(project, form, site=exchange.public_url(request).rstrip("/"))
        messages.success(request, "The schedule is saved.")
        return redirect("schedule", slug)
    if form.errors:
        # The page says what is stored, and the form has written what was typed on its row.
        kept = schedule_limits.schedule_of(project)
    context = _context(request, project, kept, form)
    return render(request, "training/schedule.html", context, status=400 if form.errors else 200)


@require_POST
def pause(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """Pause the loop, or let it go on; the button's name says which."""
    project = exchange.project_or_404(request, slug, "admin")
    if "resume" in request.POST:
        schedule_limits.resume(project, f"By {request.user.username}.")
    else:
        schedule_limits.pause(project, f"By {request.user.username}.")
    return redirect("schedule", slug)


def _context(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    kept: LoopSchedule,
    form: ScheduleForm,
) -> dict[str, object]:
    now = timezone.now()
    events = LoopEvent.objects.filter(project=project).select_related("round")
    rounds, hours = schedule_limits.spent(project, now)
    return {
        "project": project,
        "tab": "schedule",
        "is_admin": project.role == "admin",
        "schedule": kept,
        "form": form,
        "held": schedule_limits.held(project, now, kept),
        "times": _times(project, kept, now),
        "rounds": rounds,
        "hours": hours,
        "window": LoopSchedule.WINDOW // timedelta(days=1),
        "mails": exchange.mail.configured(),
        "page": Paginator(events, PER_PAGE).get_page(request.GET.get("page")),
    }


def _times(project: exchange.Project, kept: LoopSchedule, now: datetime) -> list[datetime]:
    """The next times of the cron line, in the schedule's own zone."""
    times, after = [], now
    for _ in range(NEXT_TIMES if project.round_schedule else 0):
        after = automatic_start.next_time(project.round_schedule, after, kept.time_zone)
        if after.year == MAXYEAR:
            break  # it never comes
        times.append(after)
    return times
