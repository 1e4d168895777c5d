"""Writing completions: by whom and for which prompts, three prompts to see, progress and cost."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.completions import reply_length, token_usage_and_cost, writing_runs
from training.forms import WritingForm
from training.models import ModelVersion, Run, RunKind, Worker
from training.rounds import loop_state
from training.runs.run_kinds import WRITING
from training.versions import added_models
from training.views.polling import ended, unchanged

COUNTED = 20_000
"""Prompts up to which those without completions are counted before the page is sent."""


@require_http_methods(["GET", "HEAD", "POST"])
def write(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The form; sent, it has three prompts answered for a look."""
    project = exchange.project_or_404(request, slug, "admin")
    if request.method != "POST":
        return _page(
            request, project, WritingForm(initial=_initial(request, project), project=project)
        )
    form = WritingForm(request.POST, project=project)
    if not form.is_valid():
        return _page(request, project, form, status=400)
    try:
        writing_runs.preview(project, form.options())
    except writing_runs.Refused as error:
        form.add_error(None, str(error))
        return _page(request, project, form, status=409)
    return redirect("write-completions", project.slug)


@require_POST
def start(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Write for all prompts as the preview was written."""
    project = exchange.project_or_404(request, slug, "admin")
    preview = get_object_or_404(Run, project=project, kind=RunKind.PREVIEW, uuid=uuid)
    try:
        writing_runs.start(project, writing_runs.wanted_by(preview))
    except writing_runs.Refused as error:
        messages.warning(request, str(error))
    else:
        writing_runs.drop_previews(project)
    return redirect("write-completions", project.slug)


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The run and preview that are being written, asked for every second."""
    project = exchange.project_or_404(request, slug, "admin")
    context = {"project": project, **_run_context(project)}
    if context["live"] and unchanged(request, context["stamp"]):
        return HttpResponse(status=204)
    response = render(request, "training/write_completions.html#progress", context)
    return response if context["live"] else ended(response)


@require_safe
def sizes(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The sentence that counts prompts, asked for by the page where counting takes a while."""
    project = exchange.project_or_404(request, slug, "admin")
    context = {"project": project, "sizes": _sizes(project)}
    return render(request, "training/write_completions.html#sizes", context)


@require_POST
def cancel(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    run = _run(request, slug, uuid)
    if not writing_runs.cancel(run):
        messages.warning(request, "It had ended already.")
    return redirect("write-completions", slug)


@require_POST
def go_on(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    try:
        writing_runs.go_on(_run(request, slug, uuid))
    except writing_runs.Refused as error:
        messages.warning(request, str(error))
    return redirect("write-completions", slug)


def _run(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> Run:
    project = exchange.project_or_404(request, slug, "admin")
    return get_object_or_404(Run, project=project, kind__in=WRITING, uuid=uuid)


def _initial(request: AuthenticatedHttpRequest, project: exchange.Project) -> dict[str, Any]:
    """The model that the address names, else the wishes of the last time, else defaults with the
    first server that may be asked."""
    if named := _named(request, project):
        return WritingForm.DEFAULTS | named
    preview = writing_runs.last(project, RunKind.PREVIEW)
    if preview is not None:
        return WritingForm.filled(writing_runs.wanted_by(preview))
    run = writing_runs.last(project, RunKind.COMPLETIONS)
    if run is not None:
        return WritingForm.filled({n: v for n, v in run.options.items() if n != "taken"})
    first = writing_runs.suggested()
    version = writing_runs.usual(project)
    if version is not None and not first["url"]:
        return WritingForm.DEFAULTS | _by(version)
    return WritingForm.DEFAULTS | first


def _named(request: AuthenticatedHttpRequest, project: exchange.Project) -> dict[str, Any]:
    """Fields of the form for `?by=` a version, or `?check=` that of a model behind a server."""
    by, uuid = request.GET.get("by", ""), request.GET.get("check", "")
    if by.isdecimal():
        version = writing_runs.there(project).filter(pk=int(by)).first()
        return _by(version) if version else {}
    for run in added_models.checks(project).filter(state=Run.State.DONE, worker=Worker.SHORT):
        if str(run.uuid) == uuid:
            told = {"url": run.options["from"], "model": run.options["report"]["model"]}
            return told | {"max_new_tokens": reply_length.of_server(project, run)}
    return {}


def _by(version: ModelVersion) -> dict[str, Any]:
    return {
        "source": str(version.pk),
        "max_new_tokens": reply_length.of_version(version),
    }


def _page(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    form: WritingForm,
    *,
    status: int = 200,
) -> HttpResponse:
    servers, misnamed = writing_runs.servers()
    context = {
        "project": project,
        "tab": "write-completions",
        "form": form,
        "servers": servers,
        "misnamed": misnamed,
        "possible": bool(servers) or bool(form.versions),
        "prompts": project.prompts.exists(),
        "sizes": None if project.prompts.all()[COUNTED:].exists() else _sizes(project),
        "tags": exchange.prompt_tags(project),
        **_run_context(project),
    }
    return render(request, "training/write_completions.html", context, status=status)


def _sizes(project: exchange.Project) -> dict[str, int]:
    return {
        "unanswered": exchange.prompt_count(project, unanswered=True),
        "all": exchange.prompt_count(project),
    }


def _run_context(project: exchange.Project) -> dict[str, Any]:
    """The run and the preview that are there, what they took and brought."""
    run = writing_runs.last(project, RunKind.COMPLETIONS)
    preview = writing_runs.last(project, RunKind.PREVIEW)
    here = [one for one in (preview, run) if one is not None]
    live = next((one for one in here if not one.final), None)
    shown = [
        (one.pk, one.state, one.step, one.total, one.cancel_requested, one.options.get("taken"))
        for one in here
    ]
    absent = loop_state.silent_worker(live) if live else ""
    context: dict[str, Any] = {
        "run": run,
        "preview": preview,
        "live": live,
        "absent": absent,
        "stamp": hashlib.sha256(repr((shown, absent)).encode()).hexdigest()[:16],
    }
    if run is not None:
        context |= {
            "usage": token_usage_and_cost.usage(run),
            "result": token_usage_and_cost.result(run),
        }
    if preview is not None and preview.final:
        wanted = writing_runs.wanted_by(preview)
        context |= {
            "estimate": token_usage_and_cost.estimate(project, wanted, preview),
            "shown": preview.options.get("shown", []),
            "repeats": token_usage_and_cost.preview_repeats_itself(
                preview.options.get("shown", [])
            ),
            "offered": preview.options.get("models", {}),
            "unnamed": any("url" in s and not s["model"] for s in wanted["sources"]),
        }
    return context
