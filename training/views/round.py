"""One round: its stages, curves, gates, sample replies and lineage."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.dashboard import round_charts
from training.figures import run_files
from training.figures.run_progress import (
    gain,
    gate_rows,
    headline,
    last_run,
    policy_of,
    results_of,
    stage_lines,
    verdict,
)
from training.models import ModelVersion, Round
from training.plans import started_round_settings
from training.rlhf.round import TRAIN_REWARD
from training.rounds import loop_state, start_and_cancel
from training.versions import people_verdict
from training.views.polling import ended, stamp, unchanged

STARTED = {
    "votes": "Started by itself after enough pairs were resolved",
    "schedule": "Started on schedule",
    "command": "Started on the command line",
}
LIVE = (Round.State.QUEUED, Round.State.RUNNING)


@require_safe
def round(request: AuthenticatedHttpRequest, slug: str, number: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    shown = _round(project, number)
    context = _progress_context(project, shown) | _curves_context(project, shown)
    return render(request, "training/round.html", context | _result_context(shown))


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str, number: int) -> HttpResponse:
    """The stages, asked for every 2 s while the round is live."""
    project = exchange.project_or_404(request, slug, "reviewer")
    shown = _round(project, number)
    live = shown.state in LIVE
    if live and unchanged(request, stamp(shown, last_run(shown))):
        return HttpResponse(status=204)
    response = render(request, "training/round.html#progress", _progress_context(project, shown))
    return response if live else ended(response)


@require_safe
def curves(request: AuthenticatedHttpRequest, slug: str, number: int) -> HttpResponse:
    """The charts, asked for every 5 s while the round is live."""
    project = exchange.project_or_404(request, slug, "reviewer")
    shown = _round(project, number)
    live = shown.state in LIVE
    if live and unchanged(request, _curves_stamp(shown)):
        return HttpResponse(status=204)
    context = _progress_context(project, shown) | _curves_context(project, shown)
    response = render(request, "training/round.html#curves", context)
    # No reload here: the stages beside it are the part that announces the end.
    response.status_code = 200 if live else 286
    return response


@require_POST
def cancel(request: AuthenticatedHttpRequest, slug: str, number: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    shown = _round(project, number)
    if shown.state in LIVE:
        start_and_cancel.cancel(shown)
        messages.info(request, f"Round {number} stops at the end of its current step.")
    else:
        messages.warning(request, f"Round {number} has ended already.")
    return redirect("round", project.slug, number)


@require_POST
def retry(request: AuthenticatedHttpRequest, slug: str, number: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    shown = _round(project, number)
    if shown.state not in (Round.State.FAILED, Round.State.CANCELLED):
        messages.warning(request, f"Round {number} has nothing to try again.")
        return redirect("round", project.slug, number)
    try:
        start_and_cancel.retry(shown)
    except start_and_cancel.RoundRefused as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"Round {number} goes on from its last checkpoint.")
    return redirect("round", project.slug, number)


def _round(project: exchange.Project, number: int) -> Round:
    return get_object_or_404(loop_state.history(project), number=number)


def _progress_context(project: exchange.Project, round: Round) -> dict[str, Any]:
    run = last_run(round)
    live = round.state in LIVE
    return {
        "project": project,
        "tab": "rounds",
        "is_admin": project.role == "admin",
        "round": round,
        "run": run,
        "live": live,
        "can_retry": round.state in (Round.State.FAILED, Round.State.CANCELLED),
        "stages": stage_lines(run),
        "stamp": stamp(round, run),
        "no_worker": loop_state.silent_worker(run) if live else "",
    }


def _curves_context(project: exchange.Project, round: Round) -> dict[str, Any]:
    history = [r for r in results_of(project, up_to=round.number) if r.stage == TRAIN_REWARD]
    updates, accuracy = (
        round_charts.policy_charts(last_run(round)),
        round_charts.accuracy_chart(history),
    )
    return {
        "updates": bool(updates),
        "charts": [*updates, accuracy] if accuracy else updates,
        "curves_stamp": _curves_stamp(round),
    }


def _curves_stamp(round: Round) -> str:
    run = last_run(round)
    return f"{run.metrics.count()}-{len(run.stages.all())}" if run else ""


def _result_context(round: Round) -> dict[str, Any]:
    run = last_run(round)
    policy = policy_of(run)
    lines = stage_lines(run)
    models = ModelVersion.objects.filter(run=run).select_related("parent").order_by("kind")
    return {
        "headline": headline(run),
        "gain": gain(run),
        "policy": policy,
        "verdict": verdict(policy) if policy else "",
        "gates": gate_rows(policy) if policy else [],
        "people": people_verdict.shown(policy) if policy else None,
        "samples": run_files.samples(run) if run else [],
        "rollouts": run_files.rollouts(run) if run else [],
        "models": list(models) if run else [],
        "repeats_itself": any(line.metrics.get("repeats_itself") for line in lines),
        "stage_metrics": [line for line in lines if line.metrics],
        "started": STARTED.get(round.trigger, f"Started by {round.started_by or 'an admin'}"),
        "config": list(run_files.flat(round.config)),
        "record": started_round_settings.record(round),
    }
