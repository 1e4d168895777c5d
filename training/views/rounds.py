"""The loop's page: where it stands, starting a round, asking simulated colleagues."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.dashboard import round_charts
from training.figures.run_progress import (
    headline,
    last_run,
    outcome,
    policy_of,
    results_of,
    stage_lines,
)
from training.forms import AskForm
from training.models import Round, StageResult
from training.rlhf.round import EVALUATE, TRAIN_REWARD
from training.rounds import loop_state
from training.views.polling import ended, stamp, unchanged

PER_PAGE = 25


@require_safe
def rounds(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    return _page(request, project, _ask_form(project))


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The part of the page that changes while a round runs."""
    project = exchange.project_or_404(request, slug, "reviewer")
    live = loop_state.history(project).live().first()
    if live is not None and unchanged(request, stamp(live, last_run(live))):
        return HttpResponse(status=204)
    response = render(
        request, "training/rounds.html#loop", _loop_context(request, project, _ask_form(project))
    )
    return response if live is not None else ended(response)


@require_POST
def ask_colleagues(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    if not project.train_on_simulated:
        raise Http404("Only a sample project has simulated colleagues.")
    form = AskForm(request.POST)
    if not form.is_valid():
        return _page(request, project, form, status=400)
    cast = exchange.ask_colleagues(project, **form.cleaned_data, seed=secrets.randbelow(2**31))
    if cast:
        messages.success(request, f"Simulated colleagues cast {cast} votes.")
    else:
        messages.warning(request, "No pair is waiting for votes, so the colleagues cast none.")
    return redirect("rounds", project.slug)


def _page(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    form: AskForm | None,
    *,
    status: int = 200,
) -> HttpResponse:
    results = results_of(project)
    charts = [
        round_charts.accuracy_chart(_of(results, TRAIN_REWARD)),
        round_charts.win_rate_chart(_of(results, EVALUATE)),
    ]
    context = _loop_context(request, project, form)
    context |= {"charts": [chart for chart in charts if chart is not None]}
    return render(request, "training/rounds.html", context, status=status)


def _of(results: list[StageResult], stage: str) -> list[StageResult]:
    return [result for result in results if result.stage == stage]


def _ask_form(project: exchange.Project) -> AskForm | None:
    initial = {"annotators": 12, "votes": 300}
    return AskForm(initial=initial) if project.train_on_simulated else None


def _loop_context(
    request: AuthenticatedHttpRequest, project: exchange.Project, form: AskForm | None
) -> dict[str, Any]:
    state = loop_state.state(project)
    page = Paginator(loop_state.history(project), PER_PAGE).get_page(request.GET.get("page"))
    live = next((round for round in page if round == state.live), state.live)
    run = last_run(live) if live else None
    return {
        "project": project,
        "tab": "rounds",
        "is_admin": project.role == "admin",
        "ask_form": form,
        "state": state,
        "live": live,
        "run": run,
        "stages": stage_lines(run),
        "stamp": stamp(live, run) if live else "",
        "no_worker": loop_state.silent_worker(run) if live else "",
        "page": page,
        "rounds": [_entry(round) for round in page],
    }


def _entry(round: Round) -> dict[str, Any]:
    run = last_run(round)
    return {
        "round": round,
        "headline": headline(run),
        "outcome": outcome(round),
        "policy": policy_of(run),
    }
