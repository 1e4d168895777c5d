"""Fragments that ask for themselves: cheap while nothing changed, and they come to an end."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest, HttpResponse

from training.models import Round, Run

STOP_POLLING = 286
"""htmx swaps the answer in and asks no more."""


def stamp(round: Round, run: Run | None) -> str:
    """Changes whenever something changes that a progress fragment shows."""
    shown: list[object] = [round.number, round.state]
    if run is not None:
        stages = sorted(result.stage for result in run.stages.all())
        shown += [run.pk, run.state, run.cancel_requested, run.attempts, *stages]
        shown += [run.stage, run.step, run.total, run.message]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def unchanged(request: HttpRequest, current: str) -> bool:
    return request.GET.get("seen") == current


def ended(response: HttpResponse) -> HttpResponse:
    """The last answer: polling stops, and the page reloads to show results and charts."""
    response.status_code = STOP_POLLING
    response["HX-Refresh"] = "true"
    return response
