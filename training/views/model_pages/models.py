"""The list of model versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.figures.number_format import figure, number, percent
from training.models import ModelVersion, Run, Worker
from training.versions import added_models

PER_PAGE = 40
MOST_CHECKS = 10
FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("accuracy", "accuracy on unseen prompts", percent),
    ("auc", "AUC", figure),
    ("win_rate", "win rate by a judge model", percent),
    ("kl", "KL (nats)", figure),
    ("length", "tokens per reply", figure),
)
"""Metric, its name on the page, and how it is written."""


@require_safe
def models(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    versions = ModelVersion.objects.filter(project=project).with_rounds().select_related("parent")
    ordered = versions.order_by("-number", "kind")
    page = Paginator(ordered, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "tab": "models",
        "is_admin": project.role == "admin",
        "page": page,
        "entries": [_entry(version) for version in page],
        **(_checks(project) if project.role == "admin" else {}),
    }
    return render(request, "training/models.html", context)


def _checks(project: exchange.Project) -> dict[str, Any]:
    """Models that are not, or not yet, versions: on their way, refused, or behind servers."""
    done = added_models.checks(project).filter(state=Run.State.DONE, worker=Worker.SHORT)
    others = added_models.checks(project).exclude(state=Run.State.DONE)
    return {"checks": others[:MOST_CHECKS], "servers": done[:MOST_CHECKS]}


def headline(version: ModelVersion) -> list[tuple[str, str, str]]:
    """The few figures by which a version is known: name, value and interval as written."""
    figures = []
    for key, name, write in FIGURES:
        if (value := number(version.metrics.get(key))) is not None:
            ends = [number(version.metrics.get(f"{key}_{end}")) for end in ("low", "high")]
            interval = "" if None in ends else " to ".join(write(end) for end in ends)
            figures.append((name, write(value), interval))
    return figures


def _entry(version: ModelVersion) -> dict[str, Any]:
    return {
        "version": version,
        "passed": sum(bool(gate.get("passed")) for gate in version.gates),
        "figures": headline(version),
        "human": version.metrics.get("human"),
    }
