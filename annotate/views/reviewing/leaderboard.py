"""The leaderboard: which policy people prefer."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.overview import home_figures
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.quality import bradley_terry
from annotate.statistics.interval_plot import Estimate, plot
from annotate.views.tables import counts_simulated


@require_safe
def leaderboard(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """From blind evaluation pairs, or with `pairs=training` from the others; without a word of it,
    from those where there are votes."""
    project = project_or_404(request, slug, "reviewer")
    asked = request.GET.get("pairs", "")
    if asked and asked not in bradley_terry.KINDS:
        return HttpResponseBadRequest("pairs must be evaluation or training.")
    simulated = counts_simulated(request, project)
    reference, pairs = request.GET.get("reference", ""), asked or "evaluation"
    board, counted_at = _board(project, pairs, simulated, reference)
    if board is None and not asked:
        other, then = _board(project, "training", simulated, reference)
        if other:
            board, pairs, counted_at = other, "training", then
    context = {
        "project": project,
        "tab": "leaderboard",
        "pairs": pairs,
        "simulated": simulated,
        "found": board,
        "counted_at": counted_at,
        "plot": plot(
            _shares(board) if board else [],
            title="Chance to be preferred to the reference, with 95 % intervals",
            axis="probability of being preferred",
        ),
    }
    return render(request, "annotate/leaderboard.html", context)


def _board(
    project: Project, pairs: str, simulated: bool, reference: str
) -> tuple[bradley_terry.Leaderboard | None, datetime | None]:
    """Ratings, and when they were counted; None for just now."""
    if pairs == "training" and not simulated and not reference:
        return home_figures.leaderboard_of_other_pairs(project)
    met = bradley_terry.meetings(project, pairs, include_simulated=simulated)
    return bradley_terry.leaderboard(met, reference=reference), None


def _shares(board: bradley_terry.Leaderboard) -> list[Estimate]:
    """Each policy's chance to be preferred to the reference, which is marked."""
    return [
        Estimate(
            name=one.policy,
            value=one.beats,
            low=one.interval[0],
            high=one.interval[1],
            ours=one.policy == board.reference,
        )
        for one in board.standings
    ]
