"""The data page with its import form, and the export page."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import datasets, search
from annotate.importing import Report, Unreadable, import_rows
from annotate.importing.uploads import MAX_UNPACKED, TooLarge, check_size
from annotate.models import Pair, Project
from annotate.models.people import Role
from annotate.permissions import project_or_404

PAGE = 50
MAX_QUERY = 200


@require_safe
def data(request: HttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    if request.GET.get("state", "") not in ("", *Pair.State.values):
        return HttpResponseBadRequest("There is no such state.")
    return _data_page(request, project)


@require_POST
def import_file(request: HttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    file = request.FILES.get("file")
    if file is None:
        return _data_page(request, project, problem="Choose a file first.", status=400)
    try:
        check_size(file.size)
        report = import_rows(
            project,
            file,
            dry_run="dry_run" in request.POST,
            strict="strict" in request.POST,
            max_bytes=MAX_UNPACKED,
        )
    except TooLarge as error:
        return _data_page(request, project, problem=str(error), status=413)
    except Unreadable as error:
        return _data_page(request, project, problem=f"{error} Nothing was imported.", status=400)
    status = 200 if report.written or not report.n_refused else 400
    return _data_page(request, project, report=report, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def export(request: HttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    if request.method == "POST":
        version = datasets.freeze(project, by=request.user)
        messages.success(request, f"Version {version.number} holds the votes that stand now.")
        return redirect("export", slug)
    page = Paginator(project.dataset_versions.all(), PAGE).get_page(request.GET.get("page"))
    return render(
        request, "annotate/export.html", {"project": project, "tab": "export", "page": page}
    )


def _data_page(
    request: HttpRequest,
    project: Project,
    *,
    report: Report | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    # PostgreSQL refuses NUL in a parameter; nothing stored holds one.
    text = request.GET.get("q", "").replace("\x00", "").strip()[:MAX_QUERY]
    state = request.GET.get("state", "")
    found = Paginator(search.pairs(project, text=text, state=state), PAGE)
    context = {
        "project": project,
        "tab": "data",
        "text": text,
        "state": state,
        "states": Pair.State.choices,
        "page": found.get_page(request.GET.get("page")),
        "may_import": project.role == Role.ADMIN,
        "report": report,
        "problem": problem,
    }
    return render(request, "annotate/data.html", context, status=status)
