"""Pages about annotators, for reviewers; what admins do about them."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import (
    HttpResponse,
    HttpResponseBadRequest,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate.forms.people_forms import GoalForm, MessageForm, PauseForm, PaymentForm, WeightForm
from annotate.gold import qualification
from annotate.models import Membership, Message, Project
from annotate.models.assignment import MAX_STRENGTH
from annotate.models.roles import Role
from annotate.people import annotator_figures, cached_annotator_figures, memberships
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.payment import payment_lines
from annotate.people.permissions import project_or_404
from annotate.people.warnings_and_pauses import flags, resume
from annotate.views.tables import counts_simulated, heading

Row = annotator_figures.Row

COLUMNS: dict[str, tuple[str, Callable[[Row], float | None]]] = {
    "votes": ("Votes", lambda row: row.votes),
    "minutes": ("Minutes", lambda row: row.active_ms),
    "seconds": ("Median s", lambda row: row.median_ms),
    "agreement": ("Agreement", lambda row: row.agreement.value),
    "reliability": ("Reliability", lambda row: row.reliability),
    "gold": ("Gold", lambda row: row.gold.value),
    "retest": ("Same again", lambda row: row.retest.value),
    "left": ("Left picks", lambda row: row.left.value),
    "ties": ("Ties", lambda row: row.ties.value),
    "skips": ("Skipped", lambda row: row.skips.value),
    "fast": ("Too fast", lambda row: row.too_fast.value),
}

STATES: dict[str, tuple[str, Callable[[Row, list[str]], bool]]] = {
    "all": ("All", lambda row, flags: True),
    "flagged": ("Flagged", lambda row, flags: bool(flags)),
    "warned": ("Warned", lambda row, flags: bool(row.member and row.member.warned_at)),
    "paused": ("Paused", lambda row, flags: bool(row.member and row.member.paused_at)),
    "left-out": ("Weight 0", lambda row, flags: bool(row.member and not row.member.weight)),
    "deactivated": ("Deactivated", lambda row, flags: bool(row.member and not row.member.active)),
}

SHARES = (
    (
        "agreement",
        "Agreement with the rest",
        "on the first two votes of a pair, how often the other person gave the same answer",
    ),
    ("gold", "Gold pairs right", "pairs with a known answer, hidden among the others"),
    ("retest", "The same answer again", "pairs asked twice with the sides swapped"),
    (
        "left",
        "Left picks",
        "decided votes for the reply on the left; far from one half, the side decides",
    ),
    ("ties", "Ties", "votes for about the same, or for both bad"),
    ("skips", "Skipped", "of the pairs they voted on or skipped"),
    ("too_fast", "Too fast", "votes in under two seconds of active time"),
)


@require_safe
def annotators(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    sort = request.GET.get("sort", "-votes")
    if sort.removeprefix("-") not in COLUMNS:
        return HttpResponseBadRequest("There is no such column.")
    state = request.GET.get("state", "all")
    if state not in STATES:
        return HttpResponseBadRequest("There is no such state.")
    simulated = counts_simulated(request, project)
    table = cached_annotator_figures.table(project, include_simulated=simulated)
    rows = [(row, flags(row)) for row in _sorted(table.rows, sort)]
    context = {
        "project": project,
        "tab": "annotators",
        "simulated": simulated,
        "rows": [one for one in rows if STATES[state][1](*one)],
        "n_people": len(rows),
        "state": state,
        "states": _states(rows, state),
        "counted_at": table.counted_at,
        "columns": [heading(key, title, sort) for key, (title, _) in COLUMNS.items()],
        "is_admin": project.role == Role.ADMIN,
        "payment": PaymentForm(),
    }
    return render(request, "annotate/annotators.html", context)


@require_safe
def annotator(request: AuthenticatedHttpRequest, slug: str, member_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    member = get_object_or_404(project.memberships.select_related("user"), pk=member_id)
    return _page(request, project, member)


@require_safe
def payment(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse | StreamingHttpResponse:
    """The CSV that annotators are paid by."""
    project = project_or_404(request, slug, "admin")
    form = PaymentForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest("since and until must be days like 2026-01-31.")
    days = {name: day for name, day in form.cleaned_data.items() if day}
    file = "-".join(["annotators", project.slug, *(day.isoformat() for day in days.values())])
    response = StreamingHttpResponse(
        payment_lines(project, **days), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{file}.csv"'
    return response


@require_POST
def change(request: AuthenticatedHttpRequest, slug: str, member_id: int) -> HttpResponse:
    """Write to one member, pause them, or weigh their votes; the button's name says which."""
    project = project_or_404(request, slug, "admin")
    member = get_object_or_404(project.memberships.select_related("user"), pk=member_id)
    action = next((action for action in ACTIONS if action in request.POST), None)
    if action is None:
        return HttpResponseBadRequest("There is no such action.")
    if action != "weigh":
        memberships.may_pause(member)
    form_class, apply, done = ACTIONS[action]
    form = form_class(request.POST)
    if not form.is_valid():
        return _page(request, project, member, refused={action: form}, status=400)
    apply(request, member, form.cleaned_data)
    messages.success(request, done)
    return redirect("annotator", slug, member_id)


def _send(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    Message.objects.create(member=member, author=request.user, text=said["text"])


def _pause(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    memberships.pause(member, said["because"])


def _resume(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    resume(member)


def _weigh(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    memberships.weigh(member, said["weight"])


def _set_goal(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    Membership.objects.filter(pk=member.pk).update(daily_goal=said["daily_goal"])


def _retry(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    qualification.allow_another(member)


def _qualify(request: AuthenticatedHttpRequest, member: Membership, said: dict[str, Any]) -> None:
    qualification.qualify(member)


Action = Callable[[AuthenticatedHttpRequest, Membership, dict[str, Any]], None]
ACTIONS: dict[str, tuple[type[Form], Action, str]] = {
    "send": (MessageForm, _send, "The message is sent."),
    "pause": (PauseForm, _pause, "They are paused: they are offered no pairs."),
    "resume": (Form, _resume, "They are offered pairs again."),
    "retry": (Form, _retry, "They may try the qualification again."),
    "qualify": (Form, _qualify, "They may vote without passing the qualification."),
    "set_goal": (GoalForm, _set_goal, "The goal is saved."),
    "weigh": (
        WeightForm,
        _weigh,
        "The weight is saved; the next dataset version uses it.",
    ),
}


def _page(
    request: AuthenticatedHttpRequest,
    project: Project,
    member: Membership,
    *,
    refused: dict[str, object] | None = None,
    status: int = 200,
) -> HttpResponse:
    table = cached_annotator_figures.table(project, include_simulated=member.simulated)
    one = next((row for row in table.rows if row.annotator_id == member.user_id), None)
    days = annotator_figures.votes_per_day(project, member.user_id, simulated=member.simulated)
    context = {
        "project": project,
        "tab": "annotators",
        "member": member,
        "one": one,
        "counted_at": table.counted_at,
        "flags": flags(one) if one else [],
        "figures": _figures(one) if one else [],
        "days": days,
        "most": max((day.votes for day in days), default=0),
        "attempts": qualification.results(member),
        "may_try_again": qualification.may_try_again(member),
        "recent": annotator_figures.recent(project, member),
        "max_strength": MAX_STRENGTH,
        "may_change": project.role == Role.ADMIN,
        "sent": member.messages.select_related("author").order_by("-created_at")[:10],
        "forms": {
            "send": MessageForm(),
            "pause": PauseForm(),
            "weigh": WeightForm(initial={"weight": member.weight}),
            "set_goal": GoalForm(initial={"daily_goal": member.daily_goal}),
        }
        | (refused or {}),
    }
    return render(request, "annotate/annotator.html", context, status=status)


def _figures(one: Row) -> list[dict[str, object]]:
    return [
        {"title": title, "meaning": meaning, "share": getattr(one, key)}
        for key, title, meaning in SHARES
    ]


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    """By a column, those without a figure last, whichever way it goes."""
    value = COLUMNS[sort.removeprefix("-")][1]
    valued = [(value(row), row) for row in rows]
    known = [(figure, row) for figure, row in valued if figure is not None]
    known.sort(key=itemgetter(0), reverse=sort.startswith("-"))
    return [row for _, row in known] + [row for figure, row in valued if figure is None]


def _states(rows: list[tuple[Row, list[str]]], state: str) -> list[dict[str, object]]:
    """States that somebody is in, to narrow the table to."""
    counted = [
        {"name": name, "title": title, "n": sum(holds(*row) for row in rows)}
        for name, (title, holds) in STATES.items()
    ]
    return [one for one in counted if one["n"] or one["name"] == state]
