"""The quality page: agreement, annotators, the hardest pairs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate import breakdowns, published
from annotate import quality as measures
from annotate.agreement import Agreement
from annotate.interval_plot import Share, plot
from annotate.models import Project
from annotate.permissions import project_or_404

STATISTICS = (
    ("raw", "Raw agreement", "share of pairs on which two people gave the same answer"),
    ("alpha_nominal", "Krippendorff’s α, nominal", "A, tie and B are equally far apart"),
    ("alpha_ordinal", "Krippendorff’s α, ordinal", "a tie lies between A and B"),
    ("fleiss_kappa", "Fleiss’ κ", "for comparison with papers that report it"),
)

STREAMS = {
    "random": "Random stream",
    "active": "Chosen to teach",
    "all": "All pairs",
}

# Sections that read every pair or vote, and their templates.
SECTIONS = {
    "annotators": "people",
    "duos": "duos",
    "groups": "groups",
    "hardest": "hardest",
}
AT_ONCE = 50_000
"""Votes up to which the page comes whole; beyond, these sections follow one by one."""


@require_safe
def quality(request: HttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    stream = request.GET.get("stream") or None
    if stream not in (None, *STREAMS):
        return HttpResponseBadRequest("stream must be random, active or all.")
    # Simulated votes exist for trying the product out; elsewhere there is nothing to switch.
    simulated = project.train_on_simulated and request.GET.get("simulated") == "1"
    section = request.GET.get("section", "")
    if request.headers.get("HX-Request") and section in SECTIONS:
        # One section of a page that is there already.
        context = {"project": project, section: _section(section, project, stream, simulated)}
        return render(request, f"annotate/quality_{SECTIONS[section]}.html", context)
    found = measures.by_stream(project, include_simulated=simulated)
    judged = measures.default_stream(found)
    stream = stream or judged
    summary = measures.summary(project)
    small = summary.votes <= AT_ONCE
    context = {
        "project": project,
        "tab": "quality",
        "stream": stream,
        "streams": STREAMS,
        "simulated": simulated,
        "summary": summary,
        "later": [name for name in SECTIONS if not small and name != section],
        "agreement": [(title, found[name]) for name, title in STREAMS.items()],
        "judged": STREAMS[judged].lower(),
        "enough": measures.ENOUGH_RANDOM,
        "reading": published.reading(found[judged]),
        "statistics": _statistics(list(found.values())),
        "shares": (shares := _shares(found)),
        "plot": plot(shares),
    }
    for name in SECTIONS:
        if small or name == section:
            context[name] = _section(name, project, stream, simulated)
    return render(request, "annotate/quality.html", context)


def _section(name: str, project: Project, stream: str | None, simulated: bool) -> object:
    """What the section of that name shows."""
    chosen = stream or "all"
    if name == "annotators":
        return measures.annotators(project, include_simulated=simulated)
    if name == "hardest":
        return measures.hardest(project)
    if name == "duos":
        return breakdowns.duos(project, chosen, simulated)
    return (
        ("Policy", breakdowns.by_policy(project, chosen, simulated)),
        ("Margin", breakdowns.by_margin(project, chosen, simulated)),
    )


def _statistics(found: list[Agreement]) -> list[dict[str, object]]:
    """One row per statistic, one cell per stream."""
    return [
        {
            "title": title,
            "meaning": meaning,
            "percent": key == "raw",
            "cells": [
                {
                    "stream": stream,
                    "value": one.values[key],
                    "interval": one.intervals[key],
                    "explanation": one.explanations.get(key, ""),
                }
                for stream, one in zip(STREAMS.values(), found, strict=True)
            ],
        }
        for key, title, meaning in STATISTICS
    ]


def _shares(found: dict[str, Agreement]) -> list[Share]:
    """This project's raw agreement, where it has an interval, above the published ones."""
    ours = [
        Share(name=STREAMS[name], value=one.values["raw"], low=low, high=high, ours=True)
        for name, one in found.items()
        if one.values["raw"] is not None and one.intervals["raw"] is not None
        for low, high in (one.intervals["raw"],)
    ]
    others = [
        Share(name=f.name, value=f.share, low=f.low, high=f.high, source=f.source)
        for f in published.FIGURES
    ]
    return ours + others
