"""Adding a model: where it is, the check by a worker, and what that saw."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.completions import writing_runs
from training.figures import model_check_report
from training.models import ModelVersion, Run
from training.rounds import loop_state
from training.setup import start_model_check
from training.setup.model_form import FOLDER, HUB, SERVER, AddModelForm
from training.versions import added_models, model_roots
from training.views.polling import ended, unchanged


@require_http_methods(["GET", "HEAD", "POST"])
def add(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The form; sent, the model is checked by a worker."""
    project = exchange.project_or_404(request, slug, "admin")
    if request.method != "POST":
        return _form_page(
            request, project, AddModelForm(initial=_initial(project), project=project)
        )
    form = AddModelForm(request.POST, project=project)
    if not form.is_valid():
        return _form_page(request, project, form, status=400)
    try:
        run = form.start()
    except added_models.Known as known:
        messages.warning(request, str(known))
        return redirect("model", project.slug, known.version.pk)
    except start_model_check.Refused as error:
        form.add_error(None, str(error))
        return _form_page(request, project, form, status=409)
    return redirect("model-check", project.slug, run.uuid)


def _initial(project: exchange.Project) -> dict[str, Any]:
    place = FOLDER if model_roots.roots() else HUB
    return {"place": place, "make": start_model_check.place_of(project)} | writing_runs.suggested()


def _form_page(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    form: AddModelForm,
    *,
    status: int = 200,
) -> HttpResponse:
    servers, misnamed = writing_runs.servers()
    context = {
        "project": project,
        "tab": "models",
        "form": form,
        "roots": model_roots.roots(),
        "folders": model_roots.offered(),
        "servers": servers,
        "misnamed": misnamed,
        "private": settings.HUB_PRIVATE,
        "checks": added_models.checks(project)[:5],
        "places": (HUB, FOLDER, SERVER),
    }
    return render(request, "training/add_model.html", context, status=status)


@require_safe
def check(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """A check while it runs, and what it saw."""
    project, run = _run(request, slug, uuid)
    return render(request, "training/model_check.html", _context(project, run))


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """The check's progress, asked for every second."""
    project, run = _run(request, slug, uuid)
    context = _context(project, run)
    if not run.final and unchanged(request, context["stamp"]):
        return HttpResponse(status=204)
    response = render(request, "training/model_check.html#progress", context)
    return response if not run.final else ended(response)


@require_POST
def cancel(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    _, run = _run(request, slug, uuid)
    if not start_model_check.cancel(run):
        messages.warning(request, "It had ended already.")
    return redirect("model-check", slug, uuid)


@require_POST
def go_on(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Try a check again that failed or was cancelled."""
    _, run = _run(request, slug, uuid)
    try:
        start_model_check.go_on(run)
    except start_model_check.Refused as error:
        messages.warning(request, str(error))
    return redirect("model-check", slug, uuid)


@require_POST
def remove(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Forget a check, and what it fetched."""
    _, run = _run(request, slug, uuid)
    try:
        start_model_check.remove(run)
    except start_model_check.Refused as error:
        messages.warning(request, str(error))
        return redirect("model-check", slug, uuid)
    messages.success(request, "The check is removed.")
    return redirect("models", slug)


def _run(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> tuple[exchange.Project, Run]:
    project = exchange.project_or_404(request, slug, "admin")
    return project, get_object_or_404(added_models.checks(project), uuid=uuid)


def _context(project: exchange.Project, run: Run) -> dict[str, Any]:
    [source] = run.options["sources"]
    report = run.options.get("report", {})
    absent = "" if run.final else loop_state.silent_worker(run)
    shown = (run.state, run.step, run.message, run.cancel_requested, absent)
    return {
        "project": project,
        "tab": "models",
        "is_admin": True,
        "run": run,
        "source": source,
        "version": ModelVersion.objects.filter(pk=run.options.get("version")).first(),
        "report": report,
        "seen": model_check_report.rows(report) if report else [],
        "warnings": model_check_report.warnings(report) if report else [],
        "said": report.get("said", []),
        "absent": absent,
        "stamp": hashlib.sha256(repr(shown).encode()).hexdigest()[:16],
    }
