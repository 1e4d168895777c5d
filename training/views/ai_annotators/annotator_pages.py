"""AI annotators: the list with the form of a new one, and each one's page with its figures."""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import exchange
from annotate.exchange import AiAnnotator, AuthenticatedHttpRequest
from training.ai_annotators import ai_voting
from training.ai_annotators.ai_annotator_form import (
    USUAL_PAIRS,
    AiAnnotatorForm,
    BoundsForm,
    StartForm,
)
from training.completions import writing_runs
from training.models import Run
from training.rounds import loop_state
from training.versions.provenance import eligible_models
from training.views.polling import ended, unchanged


@require_http_methods(["GET", "HEAD", "POST"])
def ai_annotators(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The annotators (reviewers). POST adds one (admins)."""
    role = "admin" if request.method == "POST" else "reviewer"
    project = exchange.project_or_404(request, slug, role)
    versions = eligible_models.offered(request.user) if project.role == "admin" else []
    form = AiAnnotatorForm(
        request.POST if request.method == "POST" else None,
        initial=AiAnnotatorForm.DEFAULTS | {"url": writing_runs.suggested()["url"]},
        project=project,
        versions=versions,
    )
    made = form.create(request.user) if request.method == "POST" and form.is_valid() else None
    if made is None:
        return _list_page(request, project, form)
    messages.success(request, f"{made.name} is added. Start it to have it vote.")
    return redirect("ai-annotator", slug, made.pk)


def _list_page(
    request: AuthenticatedHttpRequest, project: exchange.Project, form: AiAnnotatorForm
) -> HttpResponse:
    servers, misnamed = writing_runs.servers()
    rows = [
        {"annotator": one, "figures": exchange.ai_figures(one), "run": ai_voting.last_run(one)}
        for one in project.ai_annotators.all()
    ]
    context = {
        "project": project,
        "tab": "ai-annotators",
        "is_admin": project.role == "admin",
        "rows": rows,
        "form": form,
        "servers": servers,
        "misnamed": misnamed,
    }
    status = 400 if form.errors else 200
    return render(request, "training/ai_annotators.html", context, status=status)


@require_safe
def ai_annotator(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    """One annotator: its run, its bounds, its agreement with people, its principles."""
    project = exchange.project_or_404(request, slug, "reviewer")
    return _page(request, _annotator(project, pk))


def _page(
    request: AuthenticatedHttpRequest,
    annotator: AiAnnotator,
    *,
    bounds: BoundsForm | None = None,
    start_form: StartForm | None = None,
    status: int = 200,
) -> HttpResponse:
    initial = {name: getattr(annotator, name) for name in BoundsForm.BOUNDS}
    left = exchange.count_to_judge(annotator.project, annotator.pk)
    context = {
        **_run_context(annotator),
        "tab": "ai-annotators",
        "is_admin": annotator.project.role == "admin",
        "figures": exchange.ai_figures(annotator),
        "left": left,
        "bounds": bounds or BoundsForm(initial=initial),
        "start_form": start_form or StartForm(initial={"most": min(left, USUAL_PAIRS)}),
    }
    return render(request, "training/ai_annotator.html", context, status=status)


def _run_context(annotator: AiAnnotator) -> dict[str, Any]:
    run = ai_voting.last_run(annotator)
    live = run is not None and not run.final
    absent = loop_state.silent_worker(run) if live else ""
    return {
        "project": annotator.project,
        "annotator": annotator,
        "run": run,
        "live": live,
        "absent": absent,
        "bounded": run is not None and run.final and ai_voting.is_bounded(run),
        "usage": ai_voting.usage(annotator),
        "stamp": _stamp(run, absent),
    }


def _stamp(run: Run | None, absent: str) -> str:
    shown = (run.pk, run.state, run.step, run.total, run.cancel_requested, absent) if run else ()
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    """The run in which it votes, asked for every second."""
    project = exchange.project_or_404(request, slug, "reviewer")
    context = _run_context(_annotator(project, pk))
    context["is_admin"] = project.role == "admin"
    if context["live"] and unchanged(request, context["stamp"]):
        return HttpResponse(status=204)
    response = render(request, "training/ai_annotator.html#progress", context)
    return response if context["live"] else ended(response)


@require_POST
def start(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    annotator = _annotator(exchange.project_or_404(request, slug, "admin"), pk)
    form = StartForm(request.POST)
    if not form.is_valid():
        return _page(request, annotator, start_form=form, status=400)
    try:
        ai_voting.start(annotator, most=form.cleaned_data["most"])
    except ai_voting.Refused as error:
        messages.warning(request, str(error))
    return redirect("ai-annotator", slug, pk)


@require_POST
def stop(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    annotator = _annotator(exchange.project_or_404(request, slug, "admin"), pk)
    if not ai_voting.stop(annotator):
        messages.warning(request, "It had ended already.")
    return redirect("ai-annotator", slug, pk)


@require_POST
def bounds(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Change its pace and what it may spend."""
    annotator = _annotator(exchange.project_or_404(request, slug, "admin"), pk)
    form = BoundsForm(request.POST)
    if not form.is_valid():
        return _page(request, annotator, bounds=form, status=400)
    ai_voting.set_bounds(annotator, **form.bounds())
    messages.success(request, "The bounds are saved. They hold from its next start on.")
    return redirect("ai-annotator", slug, pk)


@require_POST
def retire(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    annotator = _annotator(exchange.project_or_404(request, slug, "admin"), pk)
    ai_voting.retire(annotator)
    messages.success(request, f"{annotator.name} votes no more, and its votes are used nowhere.")
    return redirect("ai-annotator", slug, pk)


def _annotator(project: exchange.Project, pk: int) -> AiAnnotator:
    annotator = get_object_or_404(AiAnnotator, project=project, pk=pk)
    annotator.project = project  # with the role of whoever looks
    return annotator
