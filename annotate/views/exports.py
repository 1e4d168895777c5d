"""The export page, exports in the background, and the page of each dataset version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.exporting import (
    FORMATS,
    ExportFormat,
    export_job,
    freezing,
    version_contents_and_changes,
)
from annotate.forms.export_forms import ExportForm
from annotate.jobs import export_actions
from annotate.jobs.upload_files import Refusal
from annotate.models import DatasetVersion, ModelNote, Project
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404

VERSIONS = 25
LISTED = 20
STOP_POLLING = 286
"""htmx swaps the answer in and asks no more."""
SHOWN = 4000
"""Characters of an example."""


@require_http_methods(["GET", "HEAD", "POST"])
def export(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The versions and what can be made of one; a POST freezes the votes that stand."""
    project = project_or_404(request, slug, "admin")
    if request.method == "POST":
        version = freezing.freeze(project, by=request.user)
        messages.success(request, f"Version {version.number} holds the votes that stand now.")
        return redirect("export", slug)
    page = Paginator(project.dataset_versions.all(), VERSIONS).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "tab": "export",
        "page": page,
        "formats": FORMATS,
        **_exports(project),
    }
    if newest := project.dataset_versions.first():
        context |= {"newest": newest.number, **_chosen(request, project, newest)}
    return render(request, "annotate/export.html", context)


@require_POST
def start(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """Have an export written in the background."""
    project = project_or_404(request, slug, "admin")
    form = ExportForm(request.POST, project=project)
    if not form.is_valid():
        messages.error(
            request, " ".join(str(error) for one in form.errors.values() for error in one)
        )
        return redirect("export", slug)
    version = form.chosen_version()
    try:
        export_actions.begin(version, request.user, form.cleaned_data["format"], form.options())
    except Refusal as refusal:
        messages.error(request, str(refusal))
    return redirect("export", slug)


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The list of exports, which changes while a worker is at one."""
    project = project_or_404(request, slug, "admin")
    context = {"project": project, **_exports(project)}
    response = render(request, "annotate/export.html#exports", context)
    if not context["busy"]:
        response.status_code = STOP_POLLING
    return response


@require_POST
def cancel(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Stop an export that is not over."""
    project = project_or_404(request, slug, "admin")
    try:
        export_actions.cancel(get_object_or_404(project.exports, uuid=uuid))
    except Refusal as refusal:
        messages.error(request, str(refusal))
    return redirect("export", slug)


@require_safe
def download(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> FileResponse:
    """The file of a finished export."""
    project = project_or_404(request, slug, "admin")
    path = export_job.file_of(get_object_or_404(project.exports, uuid=uuid))
    if path is None:
        raise Http404("The file is gone: ask for the export again.")
    return FileResponse(path.open("rb"), as_attachment=True, filename=path.name)


@require_safe
def version(request: AuthenticatedHttpRequest, slug: str, number: int) -> HttpResponse:
    """One dataset version: what it holds, what it leaves out, what is new in it, who used it."""
    project = project_or_404(request, slug, "admin")
    one = get_object_or_404(project.dataset_versions, number=number)
    one.project = project
    others = project.dataset_versions.exclude(number=number)
    simulated = project.train_on_simulated
    context = {
        "project": project,
        "tab": "export",
        "version": one,
        "counted": one.n_votes <= export_job.LARGE or "count" in request.GET,
        "others": list(others.values_list("number", flat=True)[:LISTED]),
        "models": ModelNote.objects.filter(project=project, dataset_version=number).order_by("pk"),
        "records": project.training_records.filter(record__dataset_version=number),
        "weightless": sum(1 for weight, *_ in one.people.values() if weight == 0),
    }
    if context["counted"]:
        held = version_contents_and_changes.contents(one, include_simulated=simulated)
        by = {"Split": held.splits, "Kind": held.kinds, "Stream": held.streams}
        # A template would look for an item of a counter where it is to call `items`.
        context["pairs"] = [
            (f"{what} {name}", n)
            for what, counts in by.items()
            for name, n in sorted(counts.items())
        ]
        context["held"] = held
        context |= _difference(request, others, one, simulated)
    return render(request, "annotate/version.html", context)


def _difference(
    request: AuthenticatedHttpRequest, others: Any, one: DatasetVersion, simulated: bool
) -> dict[str, Any]:
    """The difference against another version, by default the one before."""
    given = request.GET.get("against", "")
    earlier = others.filter(number__lt=one.number)
    other = others.filter(number=int(given)) if given.isdigit() and len(given) < 9 else earlier
    before = other.first()
    if before is None:
        return {}
    before.project = one.project
    difference = version_contents_and_changes.difference(before, one, include_simulated=simulated)
    return {"against": before, "difference": difference}


def _exports(project: Project) -> dict[str, Any]:
    exports = list(project.exports.select_related("version").order_by("-pk")[:LISTED])
    return {
        "exports": [(one, export_job.file_of(one) is not None) for one in exports],
        "busy": any(not one.finished for one in exports),
    }


def _chosen(
    request: AuthenticatedHttpRequest, project: Project, newest: DatasetVersion
) -> dict[str, Any]:
    """The form as it was filled in, and what would come of it."""
    given = {"version": newest.number, "format": "trl-conversational", "compression": "none"}
    form = ExportForm({**given, **request.GET.dict()}, project=project)
    if not form.is_valid():
        return {"form": form}
    version, options = form.chosen_version(), form.options()
    chosen = FORMATS[form.cleaned_data["format"]]
    large = version.n_votes > export_job.LARGE
    context: dict[str, Any] = {
        "form": form,
        "format_name": form.cleaned_data["format"],
        "format": chosen,
        "version": version,
        "large": large,
        "address": form.address(),
    }
    if not large:
        counts = chosen.counted(version, include_simulated=options.include_simulated)
        context |= {
            "counts": {_in_words(name, chosen): count for name, count in counts.items()},
            "parts": [part for part in chosen.parts if _has_rows(chosen, part, version, form)],
            "example": _example(chosen, version, form),
        }
    return context


WORDS = {
    "tie": "Tie",
    "both_bad": "Both bad",
    "split": "No majority",
    "equal_texts": "Two equal texts",
    "weightless": "Votes of weight 0",
    "rated": "Rated completions",
}
"""Figures of an export by the words of a version's page; other names are words already."""


def _in_words(name: str, chosen: ExportFormat) -> str:
    if name == chosen.main_part:
        return "Rows"
    return WORDS.get(name) or name.replace("_", " ").capitalize()


def _has_rows(chosen: ExportFormat, part: str, version: DatasetVersion, form: ExportForm) -> bool:
    """True of the first part, and of those beside it that are not empty."""
    lines = chosen.lines(version, part=part, **form.options().of_format())
    return part == chosen.main_part or next(lines, None) is not None


def _example(chosen: ExportFormat, version: DatasetVersion, form: ExportForm) -> str:
    """The first row, to be read."""
    options = form.options().of_format()
    if chosen.rows is not None:
        first: Iterator[Any] = chosen.rows(version, include_simulated=options["include_simulated"])
        row = next(first, None)
    else:
        lines = list(islice(chosen.lines(version, part=chosen.main_part, **options), 2))
        if chosen.suffix != "jsonl":
            return b"".join(lines).decode()[:SHOWN] if len(lines) > 1 else ""
        row = json.loads(lines[0]) if lines else None
    return json.dumps(row, ensure_ascii=False, indent=2)[:SHOWN] if row else ""
