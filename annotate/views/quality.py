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
    if stream not in (None, *measures.STREAMS):
        return HttpResponseBadRequest("stream must be random or all.")
    # Simulated votes exist for trying the product out; elsewhere there is nothing to switch.
    simulated = project.train_on_simulated and request.GET.get("simulated") == "1"
    section = request.GET.get("section", "")
    if request.headers.get("HX-Request") and section in SECTIONS:
        # One section of a page that is there already.
        context = {"project": project, section: _section(section, project, stream, simulated)}
        return render(request, f"annotate/quality_{SECTIONS[section]}.html", context)
    measured = measures.measure(project, stream=stream, include_simulated=simulated)
    summary = measures.summary(project)
    small = summary.votes <= AT_ONCE
    context = {
        "project": project,
        "tab": "quality",
        "stream": measured.stream,
        "simulated": simulated,
        "summary": summary,
        "later": [name for name in SECTIONS if not small and name != section],
        "agreement": measured.agreement,
        "reading": published.reading(measured.agreement),
        "statistics": _statistics(measured.agreement),
        "shares": (shares := _shares(measured.agreement)),
        "plot": plot(shares),
    }
    for name in SECTIONS:
        if small or name == section:
            context[name] = _section(name, project, measured.stream, simulated)
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


def _statistics(found: Agreement) -> list[dict[str, object]]:
    """One row per statistic for the table; shares in per cent, coefficients as they are."""
    return [
        {
            "title": title,
            "meaning": meaning,
            "percent": key == "raw",
            "value": found.values[key],
            "interval": found.intervals[key],
            "explanation": found.explanations.get(key, ""),
        }
        for key, title, meaning in STATISTICS
    ]


def _shares(found: Agreement) -> list[Share]:
    """This project's raw agreement, when it has an interval, above the published ones."""
    raw, interval = found.values["raw"], found.intervals["raw"]
    others = [
        Share(name=f.name, value=f.share, low=f.low, high=f.high, source=f.source)
        for f in published.FIGURES
    ]
    if raw is None or interval is None:
        return others
    low, high = interval
    return [Share(name="This project", value=raw, low=low, high=high, ours=True), *others]
