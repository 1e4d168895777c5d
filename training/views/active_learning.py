"""Active learning: the order in which pairs are asked, its worth, and what more votes bring."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.active import queue_notice
from training.active.learning_forecast import AHEAD
from training.figures.charts import Chart, Point, Series, line_chart
from training.figures.pool_map import pool_map
from training.models import ActiveState


@require_safe
def active_learning(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The state that a worker counted last (reviewers)."""
    project = exchange.project_or_404(request, slug, "reviewer")
    state = ActiveState.objects.filter(project=project).select_related("project").first()
    context: dict[str, Any] = {
        "project": project,
        "tab": "active-learning",
        "is_admin": project.role == "admin",
        "notice": queue_notice.notice(state),
        "state": state,
    }
    if state is not None and state.counted_at is not None:
        forecast = state.report.get("forecast")
        context |= {
            "verdict": queue_notice.verdict(state),
            "gain": queue_notice.gain(state),
            "saved": queue_notice.votes_saved(state),
            "advice": queue_notice.advice(state),
            "ahead": AHEAD,
            "forecast": forecast,
            "chart": _chart(forecast),
            "coverage": state.report.get("coverage"),
            "map": pool_map(state.report.get("map") or {}),
        }
    return render(request, "training/active_learning.html", context)


def _chart(forecast: dict[str, Any] | None) -> Chart | None:
    if not forecast:
        return None
    names = ("votes", "accuracy", "low", "high")
    points = [
        Point(x=votes, y=100 * value, low=100 * low, high=100 * high)
        for votes, value, low, high in zip(*(forecast[name] for name in names), strict=True)
    ]
    return line_chart(
        id="learning-curve",
        title="Accuracy by votes",
        x_label="votes that a head learned from",
        y_label="right votes, %",
        series=[Series(name="accuracy", points=points)],
    )
