"""The quality page: agreement, where it comes from, the hardest pairs."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.overview import home_figures
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.quality import agreement_counts, bias, breakdowns, pairs_by_agreement
from annotate.statistics import published_agreement
from annotate.statistics.agreement import Agreement
from annotate.statistics.interval_plot import Estimate, plot
from annotate.views.tables import counts_simulated, heading

TERMS = {"raw": "agreement", "fleiss_kappa": "Fleiss’ κ"}
"""Words of the glossary that explain a statistic; the others are Krippendorff's."""
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

AXIS = "share of pairs on which two people gave the same answer"
CAPTIONS = {
    "Time": "By when the second vote was cast (UTC), oldest first.",
    "Policy": "By the policy that wrote the answers, newest first.",
    "Margin": "By the reward model’s margin between the two answers (a logit, without its sign) "
    "when the pair was queued.",
    "Tag": "By the tags of prompts and pairs, most frequent first; a pair may have several.",
}

COLUMNS = {
    "agreement": "Agreement",
    "votes": "Votes",
    "margin": "Margin",
    "last": "Last vote",
}

# Sections that read every pair or vote, and their templates.
SECTIONS = {
    "duos": ("duos", "Who agrees with whom"),
    "groups": ("groups", "Where agreement comes from"),
    "bias": ("bias", "What else decides votes"),
    "hardest": ("hardest", "Hardest pairs"),
}
ALWAYS_LATER = ("bias",)  # it reads texts
AT_ONCE = 50_000
"""Votes up to which the page comes whole; beyond, these sections follow one by one."""


@require_safe
def quality(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    stream = request.GET.get("stream") or None
    if stream not in (None, *STREAMS):
        return HttpResponseBadRequest("stream must be random, active or all.")
    simulated = counts_simulated(request, project)
    section = request.GET.get("section", "")
    if request.headers.get("HX-Request") and section in SECTIONS:
        # One section of a page that is there already.
        context: dict[str, Any] = {"project": project, "stream": stream, "simulated": simulated}
        context[section] = _section(section, project, stream, simulated)
        return render(request, f"annotate/quality_{SECTIONS[section][0]}.html", context)
    return render(request, "annotate/quality.html", _page(project, stream, simulated, section))


@require_safe
def pairs(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    sort = request.GET.get("sort", pairs_by_agreement.DEFAULT)
    stream = request.GET.get("stream", "all")
    after = request.GET.get("after", "")
    simulated = counts_simulated(request, project)
    if stream not in STREAMS:
        return HttpResponseBadRequest("stream must be random, active or all.")
    try:
        page = pairs_by_agreement.page(
            project, order=sort, stream=stream, after=after, include_simulated=simulated
        )
    except pairs_by_agreement.BadPlace as error:
        return HttpResponseBadRequest(str(error))
    context = {
        "project": project,
        "tab": "quality",
        "stream": stream,
        "streams": STREAMS,
        "simulated": simulated,
        "sort": sort,
        "after": after,
        "page": page,
        "size": pairs_by_agreement.PAGE,
        "columns": [
            heading(key, title, sort, rising=key == pairs_by_agreement.DEFAULT)
            for key, title in COLUMNS.items()
        ],
    }
    return render(request, "annotate/quality_pairs.html", context)


def _page(project: Project, stream: str | None, simulated: bool, section: str) -> dict[str, Any]:
    """The page with what is quick to read; `section` is one more that was asked for."""
    streams, counted_at = home_figures.agreement_by_stream(project, include_simulated=simulated)
    judged = agreement_counts.default_stream(streams)
    stream = stream or judged
    summary = home_figures.progress(project)
    small = summary.votes <= AT_ONCE
    shares = _shares(streams)
    sections: list[tuple[str, str, str]] = []
    context: dict[str, Any] = {
        "project": project,
        "tab": "quality",
        "stream": stream,
        "streams": STREAMS,
        "simulated": simulated,
        "nothing": not (section or summary.votes or any(one.pairs for one in streams.values())),
        "summary": summary,
        "counted_at": counted_at,
        "waiting": home_figures.waiting(project),
        "agreement": [(title, streams[name]) for name, title in STREAMS.items()],
        "judged": STREAMS[judged].lower(),
        "enough": agreement_counts.ENOUGH_RANDOM,
        "reading": published_agreement.reading(streams[judged]),
        "statistics": _statistics(list(streams.values())),
        "shares": shares,
        "plot": plot(shares, title="Raw agreement beside published figures", axis=AXIS),
        "sections": sections,
    }
    for name, (template, title) in SECTIONS.items():
        now = name == section or (small and name not in ALWAYS_LATER)
        sections.append((name, template if now else "later", title))
        if now:
            context[name] = _section(name, project, stream, simulated)
    return context


def _section(name: str, project: Project, stream: str | None, simulated: bool) -> object:
    """Context of the section of that name."""
    chosen = stream or "all"
    if name == "hardest":
        return agreement_counts.hardest(project, stream=chosen)
    if name == "duos":
        duos = breakdowns.duos(project, chosen, simulated)
        return {"list": duos, "matrix": breakdowns.matrix(duos)}
    if name == "bias":
        return _bias(bias.measure(project, chosen, simulated))
    days = breakdowns.by_day(project, chosen, simulated)
    return {
        "falls": breakdowns.falls(days),
        "tables": [
            _table("Time", breakdowns.by_period(days)),
            _table("Policy", breakdowns.by_policy(days)),
            _table("Margin", breakdowns.by_margin(days)),
            _table("Tag", breakdowns.by_tag(project, chosen, simulated)),
        ],
    }


def _table(by: str, groups: list[breakdowns.Group]) -> dict[str, object]:
    """Groups as a table and as a plot of those that hold enough pairs."""
    return {
        "by": by,
        "caption": CAPTIONS[by],
        "groups": groups,
        "plot": plot(
            [_estimate(one.name, one.raw, one.interval) for one in groups if one.enough],
            title=f"Agreement by {by.lower()}, with 95 % intervals",
            axis=AXIS,
        ),
    }


def _estimate(name: str, value: float, interval: tuple[float, float] | None) -> Estimate:
    assert interval, "whoever has a share has an interval"
    return Estimate(name=name, value=value, low=interval[0], high=interval[1])


def _bias(measured: bias.Bias) -> dict[str, object]:
    """Context of the panel: figures, plots and the plain words for the slope."""
    return {
        "found": measured,
        "effects": plot(
            [
                Estimate(
                    name=one.element.capitalize(), value=one.coefficient, low=one.low, high=one.high
                )
                for one in measured.style.effects
            ],
            title="Pull of style on votes, with 95 % intervals",
            axis="log odds per standard difference; right of zero: more of it wins",
            mark=0.0,
            write="{:.2f}".format,
        ),
        "stretches": plot(
            [
                _estimate(one.name, one.share, one.interval)
                for one in measured.fatigue.stretches
                if one.enough
            ],
            title="Agreement along a sitting, with 95 % intervals",
            axis=AXIS,
        ),
    }


def _statistics(agreements: list[Agreement]) -> list[dict[str, object]]:
    """One row per statistic, one cell per stream."""
    return [
        {
            "title": title,
            "term": TERMS.get(key, "Krippendorff’s α"),
            "meaning": meaning,
            "percent": key == "raw",
            "cells": [
                {
                    "stream": stream,
                    "value": one.values[key],
                    "interval": one.intervals[key],
                    "explanation": one.explanations.get(key, ""),
                }
                for stream, one in zip(STREAMS.values(), agreements, strict=True)
            ],
        }
        for key, title, meaning in STATISTICS
    ]


def _shares(streams: dict[str, Agreement]) -> list[Estimate]:
    """This project's raw agreement, where it has an interval, above the published ones."""
    ours = [
        _estimate(STREAMS[name], one.values["raw"], one.intervals["raw"])
        for name, one in streams.items()
        if one.values["raw"] is not None and one.intervals["raw"] is not None
    ]
    others = [
        Estimate(name=f.name, value=f.share, low=f.low, high=f.high, source=f.source, ours=False)
        for f in published_agreement.FIGURES
    ]
    return ours + others
