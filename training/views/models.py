"""Model versions with their lineage; an admin promotes and retires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from training import promotion
from training.charts import figure
from training.models import ModelVersion
from training.progress import number
from training.templatetags.measures import percent

PER_PAGE = 40
FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("accuracy", "accuracy", percent),
    ("auc", "AUC", figure),
    ("win_rate", "win rate", percent),
    ("kl", "KL", figure),
    ("length", "tokens", figure),
)
"""Metric, its name on the page, and how it is written."""


@require_safe
def models(request: HttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    versions = ModelVersion.objects.filter(project=project).select_related("parent", "run__round")
    ordered = versions.order_by("-number", "kind")
    page = Paginator(ordered, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "tab": "rounds",
        "is_admin": project.role == "admin",
        "page": page,
        "entries": [_entry(version) for version in page],
    }
    return render(request, "training/models.html", context)


def _entry(version: ModelVersion) -> dict[str, Any]:
    state = ModelVersion.State(version.state)
    policy = version.kind == ModelVersion.POLICY
    return {
        "version": version,
        "passed": sum(bool(gate.get("passed")) for gate in version.gates),
        "figures": [
            (name, write(value))
            for key, name, write in FIGURES
            if (value := number(version.metrics.get(key))) is not None
        ],
        "human": version.metrics.get("human"),
        "can_promote": policy
        and state != ModelVersion.State.PROMOTED
        and version.pruned_at is None,
        "can_retire": policy and state == ModelVersion.State.CANDIDATE,
        "can_demote": policy and state == ModelVersion.State.PROMOTED and version.parent,
    }


@require_POST
def promote(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    version = _policy(project, pk)
    try:
        promotion.promote(version, by=request.user)
    except promotion.NotPromotable as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"{version.name} is in use now.")
    return redirect("models", project.slug)


@require_POST
def retire(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Put a candidate aside, or take the promoted policy back."""
    project = exchange.project_or_404(request, slug, "admin")
    version = _policy(project, pk)
    if version.state == ModelVersion.State.PROMOTED:
        return _demote(request, version)
    promotion.retire(version, note=f"Retired by {request.user.get_username()}.")
    messages.success(request, f"{version.name} is retired.")
    return redirect("models", project.slug)


def _demote(request: HttpRequest, version: ModelVersion) -> HttpResponse:
    reason = f"Demoted by {request.user.get_username()}."
    if (restored := promotion.demote(version, reason=reason)) is None:
        messages.warning(request, f"{version.name} has no version before it to go back to.")
    else:
        messages.success(request, f"{restored.name} is in use again.")
    return redirect("models", version.project.slug)


def _policy(project: Any, pk: int) -> ModelVersion:
    return get_object_or_404(ModelVersion.objects.policies(), project=project, pk=pk)
