"""One model version: lineage, figures, gates, samples, card, download; an admin decides on it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from training import archives, cards, lineage, promotion, pushing, reading
from training.forms import PushForm, ReasonForm
from training.models import ModelVersion
from training.progress import gate_rows, verdict
from training.templatetags.measures import words
from training.views.models import headline


@require_safe
def model(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    return _page(request, project, _version(project, pk), ReasonForm())


def _page(
    request: HttpRequest,
    project: Any,
    version: ModelVersion,
    form: ReasonForm,
    *,
    push_form: PushForm | None = None,
    status: int = 200,
) -> HttpResponse:
    turns = lineage.steps(version)
    policy = version.kind == ModelVersion.POLICY
    context = {
        "project": project,
        "tab": "rounds",
        "is_admin": project.role == "admin",
        "version": version,
        "about": lineage.description(project, version),
        "turns": turns,
        "graph": lineage.graph(turns, version),
        "headline": headline(version),
        "figures": [(words(key), *rest) for key, *rest in cards.figures(version)],
        "human": version.metrics.get("human"),
        "policy": version if policy else None,
        "gates": gate_rows(version),
        "verdict": verdict(version),
        "samples": reading.samples(version.run) if policy and version.run else [],
        "card": cards.card(version),
        "form": form,
        "push_form": push_form or PushForm(),
        "push_allowed": settings.HUB_PUSH,
        "pushed": pushing.last(version),
        **_choices(version),
    }
    return render(request, "training/model.html", context, status=status)


def _choices(version: ModelVersion) -> dict[str, Any]:
    """What can be done with the version, and why it cannot be downloaded."""
    policy, promoted = version.kind == ModelVersion.POLICY, ModelVersion.State.PROMOTED
    try:
        missing, size = (
            "",
            sum(f.stat().st_size for f in archives.files(archives.folder_of(version))),
        )
    except archives.NotHere as error:
        missing, size = str(error), 0
    return {
        "missing": missing,
        "size": size,
        "can_promote": policy and version.state != promoted and version.pruned_at is None,
        "can_retire": policy and version.state == ModelVersion.State.CANDIDATE,
        "can_demote": policy and version.state == promoted and version.parent is not None,
    }


@require_safe
def download(request: HttpRequest, slug: str, pk: int) -> HttpResponse | StreamingHttpResponse:
    """The model's folder as a zip, with its card."""
    project = exchange.project_or_404(request, slug, "admin")
    version = _version(project, pk)
    try:
        folder = archives.folder_of(version)
    except archives.NotHere as error:
        messages.warning(request, str(error))
        return redirect("model", project.slug, pk)
    name = f"{project.slug}-{version.name}.zip"
    return StreamingHttpResponse(
        archives.stream(version, folder),
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@require_POST
def promote(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    version = _version(project, pk, kind=ModelVersion.POLICY)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, project, version, form, status=400)
    try:
        promotion.promote(version, by=request.user, reason=form.cleaned_data["reason"])
    except promotion.NotPromotable as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"{version.name} is in use now.")
    return redirect("model", project.slug, pk)


@require_POST
def retire(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Put a candidate aside, or take the promoted policy back."""
    project = exchange.project_or_404(request, slug, "admin")
    version = _version(project, pk, kind=ModelVersion.POLICY)
    form = ReasonForm(request.POST)
    if not form.is_valid():
        return _page(request, project, version, form, status=400)
    reason = form.cleaned_data["reason"]
    if version.state == ModelVersion.State.PROMOTED:
        return _demote(request, version, reason)
    try:
        promotion.retire(version, note=promotion.signed("Retired", request.user, reason))
    except promotion.NotPromotable as error:  # somebody promoted it meanwhile
        messages.warning(request, str(error))
    else:
        messages.success(request, f"{version.name} is retired.")
    return redirect("model", project.slug, pk)


@require_POST
def push(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Upload the version to a hub."""
    project = exchange.project_or_404(request, slug, "admin")
    version, form = _version(project, pk), PushForm(request.POST)
    if not form.is_valid():
        return _page(request, project, version, ReasonForm(), push_form=form, status=400)
    try:
        pushing.push(version, **form.cleaned_data)
    except pushing.Refused as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, "It is uploaded as soon as a training worker is free.")
    return redirect("model", project.slug, pk)


def _demote(request: HttpRequest, version: ModelVersion, reason: str) -> HttpResponse:
    note = promotion.signed("Demoted", request.user, reason)
    if (restored := promotion.demote(version, reason=note)) is None:
        messages.warning(request, f"{version.name} has no version before it to go back to.")
    else:
        messages.success(request, f"{restored.name} is in use again.")
    return redirect("model", version.project.slug, version.pk)


def _version(project: Any, pk: int, **columns: str) -> ModelVersion:
    versions = ModelVersion.objects.select_related("project", "parent", "run__round")
    return get_object_or_404(versions, project=project, pk=pk, **columns)
