"""One model version: lineage, figures, gates, samples, card, download; an admin decides on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.figures import model_check_report, run_files
from training.figures.number_format import words
from training.figures.run_progress import gate_rows
from training.forms import PushForm, ReasonForm
from training.models import ModelVersion
from training.rounds import hub_push
from training.versions import (
    added_models,
    lineage,
    model_cards,
    people_verdict,
    promotion,
    zip_archive,
)
from training.views.model_pages.models import headline

Act = Callable[[ModelVersion, str], str]
"""Does something to a version for a reason, and says what it did."""


@require_safe
def model(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    return _page(request, project, _version(project, pk), ReasonForm())


def _page(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    version: ModelVersion,
    form: ReasonForm,
    *,
    push_form: PushForm | None = None,
    status: int = 200,
) -> HttpResponse:
    turns = lineage.steps(version)
    policy = version.kind == ModelVersion.POLICY
    choices = _choices(version)
    possible = any(choices[name] for name in ("can_promote", "can_retire", "fallback"))
    context = {
        "project": project,
        "tab": "models",
        "is_admin": project.role == "admin",
        "version": version,
        "can_decide": project.role == "admin" and possible,
        "about": lineage.description(project, version),
        "turns": turns,
        "graph": lineage.graph(turns, version),
        "headline": headline(version),
        "figures": [(words(key), *rest) for key, *rest in model_cards.figures(version)],
        "human": version.metrics.get("human"),
        "people": people_verdict.shown(version) if policy else None,
        "policy": version if policy else None,
        "gates": gate_rows(version),
        "decisions": version.decisions.all(),
        "first": policy and _nothing_written(project),
        **_seen(version),
        "samples": run_files.samples(version.run) if policy and version.run else [],
        "card": model_cards.card(version),
        "form": form,
        "push_form": push_form or PushForm(),
        "push_allowed": settings.HUB_PUSH,
        "pushed": hub_push.last(version),
        **choices,
    }
    return render(request, "training/model.html", context, status=status)


def _nothing_written(project: exchange.Project) -> bool:
    """True of a project with prompts and without a single completion."""
    return project.prompts.exists() and not exchange.has_completions(project)


def _seen(version: ModelVersion) -> dict[str, Any]:
    """The report of the check of a version that was added."""
    run = added_models.check_of(version) if version.run_id is None else None
    report = run.options["report"] if run else {}
    if not report:
        return {}
    return {
        "seen": model_check_report.rows(report),
        "warnings": model_check_report.warnings(report),
        "said": report.get("said", []),
    }


def _choices(version: ModelVersion) -> dict[str, Any]:
    """Actions open to the version, and why it cannot be downloaded."""
    policy, State = version.kind == ModelVersion.POLICY, ModelVersion.State
    missing, size = "", 0
    try:
        size = sum(f.stat().st_size for f in zip_archive.files(zip_archive.folder_of(version)))
    except zip_archive.NotHere as error:
        missing = str(error)
    promoted = policy and version.state == State.PROMOTED
    return {
        "missing": missing,
        "size": size,
        "can_promote": policy and not promoted and version.pruned_at is None,
        "can_retire": policy and version.state == State.CANDIDATE,
        "fallback": promotion.fallback(version) if promoted else None,
    }


@require_safe
def download(
    request: AuthenticatedHttpRequest, slug: str, pk: int
) -> HttpResponse | StreamingHttpResponse:
    """The model's folder as a zip, with its card."""
    project = exchange.project_or_404(request, slug, "admin")
    version = _version(project, pk)
    try:
        folder = zip_archive.folder_of(version)
    except zip_archive.NotHere as error:
        messages.warning(request, str(error))
        return redirect("model", project.slug, pk)
    name = f"{project.slug}-{version.name}.zip"
    return StreamingHttpResponse(
        zip_archive.stream(version, folder),
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@require_POST
def promote(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    def act(version: ModelVersion, reason: str) -> str:
        return f"{added_models.use(version, by=request.user, reason=reason)} is in use now."

    return _decide(request, slug, pk, act)


@require_POST
def retire(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Put a candidate aside."""

    def act(version: ModelVersion, reason: str) -> str:
        promotion.retire(version, note=promotion.signed("Retired", request.user, reason))
        return f"{version.name} is retired."

    return _decide(request, slug, pk, act)


@require_POST
def demote(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Take the policy in use back."""

    def act(version: ModelVersion, reason: str) -> str:
        note = promotion.signed("Demoted", request.user, reason)
        return f"{promotion.demote(version, note=note).name} is in use again."

    return _decide(request, slug, pk, act)


def _decide(request: AuthenticatedHttpRequest, slug: str, pk: int, act: Act) -> HttpResponse:
    """Let an admin act on a policy, with a reason."""
    project = exchange.project_or_404(request, slug, "admin")
    version = _version(project, pk, kind=ModelVersion.POLICY)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, project, version, form, status=400)
    try:
        messages.success(request, act(version, form.cleaned_data["reason"]))
    except (promotion.Refused, added_models.Declined) as error:
        messages.warning(request, str(error))
    return redirect("model", project.slug, pk)


@require_POST
def push(request: AuthenticatedHttpRequest, slug: str, pk: int) -> HttpResponse:
    """Upload the version to a hub."""
    project = exchange.project_or_404(request, slug, "admin")
    version, form = _version(project, pk), PushForm(request.POST)
    if not form.is_valid():
        return _page(request, project, version, ReasonForm(), push_form=form, status=400)
    try:
        hub_push.push(version, **form.cleaned_data)
    except hub_push.Refused as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, "It is uploaded as soon as a training worker is free.")
    return redirect("model", project.slug, pk)


def _version(project: exchange.Project, pk: int, **columns: str) -> ModelVersion:
    versions = ModelVersion.objects.select_related("project", "parent", "run__round")
    return get_object_or_404(versions, project=project, pk=pk, **columns)
