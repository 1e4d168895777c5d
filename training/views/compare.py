"""Policies side by side: figures with intervals, plots, replies; any versions of the project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.dashboard import comparisons
from training.dashboard.comparisons import ALL, Cell, Comparison
from training.figures.charts import Chart, Point, Series, line_chart
from training.models import ModelVersion, Run
from training.rounds import loop_state
from training.runs import run_states
from training.views.polling import ended, unchanged

PER_PAGE = 6
CHARTED = {
    "score_": "Mean score",
    "win_rate_": "Share of prompts",
    "people_win_rate": "Share of judged pairs",
    "judged_win_rate": "Share of prompts",
    "kl": "Nats per reply",
    "perplexity": "Perplexity",
    "rougeL": "F1",
    "length": "Tokens",
    "distinct2": "Share of word pairs",
    "self_bleu": "BLEU",
    "repetition": "Share of three-word runs",
    "refusal_rate": "Share of replies",
    "broken_rate": "Share of replies",
}
"""Measures that are drawn, with their y axis; a name that ends with _ stands for all that begin
with it."""
ROUND_FIGURES = ("win_rate", "reward_after", "kl", "length", "distinct2", "broken_rate")
"""Of rounds' own evaluations, shown where versions were never asked the same prompts."""
LIVE = (Run.State.QUEUED, Run.State.RUNNING)


@require_safe
def compare(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The chosen versions (?v=1&v=2, policy numbers) on one group of prompts (?tag=)."""
    project = exchange.project_or_404(request, slug, "reviewer")
    policies = list(ModelVersion.objects.policies().filter(project=project).order_by("number"))
    chosen = _chosen(request, policies)
    comparison = comparisons.find(project, chosen) if len(chosen) > 1 else None
    context = {
        "project": project,
        "tab": "models-compare",
        "is_admin": project.role == "admin",
        "policies": [(version, version in chosen) for version in policies],
        "chosen": chosen,
        "comparison": comparison,
        **_run_context(project),
    }
    if comparison is None:
        context["kept"] = [(name, _kept(chosen, name)) for name in ROUND_FIGURES]
    else:
        context |= _comparison_context(request, comparison, chosen)
    return render(request, "training/compare.html", context)


@require_POST
def start(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    policies = list(ModelVersion.objects.policies().filter(project=project))
    wanted = _numbers(request.POST.getlist("v"))
    chosen = [version for version in policies if version.number in wanted]
    try:
        comparisons.start(project, chosen)
    except comparisons.ComparisonRefused as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, "The versions are asked the same prompts now.")
    return redirect(_address(project, chosen))


@require_POST
def cancel(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    run = comparisons.last_run(project)
    if run is not None and run_states.cancel(Run.objects.filter(pk=run.pk)):
        messages.info(request, "The comparison stops; what was measured is kept.")
    else:
        messages.warning(request, "No comparison is running.")
    asked = run.options.get("versions", []) if run else []
    return redirect(_address(project, ModelVersion.objects.filter(project=project, pk__in=asked)))


def _address(project: exchange.Project, versions: Iterable[ModelVersion]) -> str:
    return f"{reverse('models-compare', args=[project.slug])}?{_query(versions)}"


def _query(versions: Iterable[ModelVersion]) -> str:
    return urlencode({"v": sorted(version.number for version in versions)}, doseq=True)


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The comparison that runs, asked for every 2 s."""
    project = exchange.project_or_404(request, slug, "reviewer")
    context = {"project": project, "is_admin": project.role == "admin", **_run_context(project)}
    if context["live"] and unchanged(request, context["stamp"]):
        return HttpResponse(status=204)
    response = render(request, "training/compare.html#progress", context)
    return response if context["live"] else ended(response)


@require_safe
def report(request: AuthenticatedHttpRequest, slug: str, uuid: str) -> FileResponse:
    """The report that the comparison wrote, to keep or to send."""
    project = exchange.project_or_404(request, slug, "reviewer")
    run = get_object_or_404(Run, project=project, uuid=uuid)
    try:
        file = comparisons.file_of(run, comparisons.REPORT).open("rb")
    except OSError as error:
        raise Http404("The report is not on this machine.") from error
    # An attachment: it has styles of its own, which the pages' policy would refuse.
    return FileResponse(file, as_attachment=True, filename=f"{project.slug}-comparison.html")


def _chosen(request: AuthenticatedHttpRequest, policies: list[ModelVersion]) -> list[ModelVersion]:
    """The versions asked for; without any, the promoted one and the one it came from."""
    wanted = _numbers(request.GET.getlist("v"))
    if wanted:
        return [version for version in policies if version.number in wanted]
    promoted = next((v for v in policies if v.state == ModelVersion.State.PROMOTED), None)
    if promoted is None or promoted.parent_id is None:
        return policies[-2:]
    return [version for version in policies if version.pk in (promoted.pk, promoted.parent_id)]


def _numbers(values: Sequence[str]) -> set[int]:
    """Version numbers among the values of a query; what is none names none."""
    return {int(value) for value in values if value.isdecimal() and len(value) < 10}


def _run_context(project: exchange.Project) -> dict[str, Any]:
    """The latest comparison, as long as it runs or when it failed."""
    run = comparisons.last_run(project)
    live = run is not None and run.state in LIVE
    shown = (run.pk, run.state, run.step, run.total, run.cancel_requested) if run else ()
    return {
        "run": run,
        "live": live,
        "failed": run is not None and run.state == Run.State.FAILED,
        "stamp": hashlib.sha256(repr(shown).encode()).hexdigest()[:16],
        "no_worker": loop_state.silent_worker(run) if live else "",
    }


def _comparison_context(
    request: AuthenticatedHttpRequest, comparison: Comparison, chosen: list[ModelVersion]
) -> dict[str, Any]:
    tag = request.GET.get("tag", ALL)
    group = tag if tag in comparison.groups else ALL
    prompts = comparisons.asked(comparison, group=group)
    page = Paginator(prompts, PER_PAGE).get_page(request.GET.get("page"))
    lines = [
        (measure, [comparison.cell(group, version, measure.name) for version in chosen])
        for measure in comparison.measures
    ]
    counted = [cell.n for _, cells in lines for cell in cells if cell and cell.n]
    return {
        "of_fewer": next((n for n in counted if n < comparison.groups[group]), None),
        "group": group,
        "groups": list(comparison.groups.items()),
        "prompts": comparison.groups[group],
        "query": _query(chosen),
        "lines": lines,
        "compared": comparison.first in chosen,
        "charts": _charts(comparison, chosen, group),
        "page": page,
        "samples": comparisons.samples(comparison, chosen, page),
    }


def _charts(comparison: Comparison, chosen: list[ModelVersion], group: str) -> list[Chart]:
    """One chart per measure over the versions' numbers."""
    drawn = []
    for measure in comparison.measures:
        y_label = next((y for name, y in CHARTED.items() if _stands_for(name, measure.name)), "")
        if not y_label:
            continue
        cells = [(version, comparison.cell(group, version, measure.name)) for version in chosen]
        drawn.append(
            line_chart(
                id=f"chart-{measure.name}",
                title=measure.title,
                x_label="Policy version",
                y_label=y_label,
                series=[Series(name=measure.title, points=[_point(v, c) for v, c in cells])],
                reference=0.5 if "win_rate" in measure.name else None,
            )
        )
    return [chart for chart in drawn if chart is not None]


def _stands_for(known: str, name: str) -> bool:
    return name == known or (known.endswith("_") and name.startswith(known))


def _point(version: ModelVersion, cell: Cell | None) -> Point:
    if cell is None or cell.value is None:
        return Point(x=version.number, y=None)
    low, high = cell.low, cell.high
    if low is None or high is None:
        low = high = None
    return Point(x=version.number, y=cell.value, low=low, high=high)


def _kept(chosen: list[ModelVersion], name: str) -> list[Any]:
    return [version.metrics.get(name) for version in chosen]
