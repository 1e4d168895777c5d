"""Imports: the page that takes a file, and the page of each on its way into the project."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.importing import Report
from annotate.importing.any_file import is_begun
from annotate.importing.files.text_encodings import ENCODINGS
from annotate.importing.http_uploads import TooLarge, check_size
from annotate.importing.limits import MAX_PIECE, MAX_REQUEST
from annotate.jobs import datasets_by_name, import_actions, import_job, problem_file, upload_files
from annotate.jobs.upload_files import Refusal
from annotate.models import Import, Project
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404

PER_PAGE = 25
LISTED_PROBLEMS = 100
STOP_POLLING = 286
"""htmx swaps the answer in and asks no more."""
LOOKED_THROUGH = 50_000
"""Rows of an import up to which its page says whether it can be taken back.

Of a larger one that is said to whoever asks for it: the time to look grows with its rows, and most
of what the page of 150,000 took was this question.
"""
MAIN_FIELDS = (
    *("prompt", "chosen", "rejected", "completion_a", "completion_b", "winner", "rater", "votes"),
)
"""Shown first; the others are behind a fold."""


@require_http_methods(["GET", "HEAD", "POST"])
def imports(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The place to drop a file, and the imports so far."""
    project = project_or_404(request, slug, "admin")
    if request.method != "POST":
        return _list_page(request, project)
    try:
        import_ = _received(request, project)
    except TooLarge as error:
        return _list_page(request, project, problem=str(error), status=413)
    except Refusal as refusal:
        return _list_page(request, project, problem=str(refusal), status=400)
    return redirect("import", project.slug, import_.uuid)


@require_safe
def one(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """An import: what was recognised, what it would add, how far it is, what it added."""
    project, import_ = _import_of(request, slug, uuid)
    return render(request, "annotate/import.html", _context(project, import_))


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """The part of the page that changes while a worker is at it."""
    project, import_ = _import_of(request, slug, uuid)
    response = render(request, "annotate/import.html#progress", _context(project, import_))
    if not _is_busy(import_):
        response.status_code = STOP_POLLING
        response["HX-Refresh"] = "true"
    return response


@require_POST
def columns(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Read the file with the columns that were chosen."""
    return _answered(request, slug, uuid, lambda import_: _choose(request, import_))


@require_POST
def start(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Write the rows, unless the columns were changed and nobody has seen what comes of it."""

    def begin(import_: Import) -> None:
        if _choose(request, import_):
            messages.warning(
                request, "You chose other columns. Look at the pairs once more, then import."
            )
            return
        import_actions.choose_options(
            import_,
            judged=request.POST.get("judged") or None,
            strict="strict" in request.POST,
        )
        import_actions.begin(import_)

    return _answered(request, slug, uuid, begin)


@require_POST
def cancel(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    return _answered(request, slug, uuid, import_actions.cancel)


@require_POST
def undo(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Take back what an import added."""
    return _answered(request, slug, uuid, import_actions.take_back)


@require_safe
def report(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> StreamingHttpResponse:
    """Every problem of the file, to take away; `?as=jsonl` has lines of JSON instead of CSV."""
    _, import_ = _import_of(request, slug, uuid)
    path = upload_files.problems_path(import_)
    if not path.exists():
        raise Http404("The file is not checked yet.")
    kind = "jsonl" if request.GET.get("as") == "jsonl" else "csv"
    lines = problem_file.as_lines(path) if kind == "jsonl" else problem_file.as_csv(path)
    types = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
    response = StreamingHttpResponse(lines, content_type=types[kind])
    name = f"import-{import_.uuid}.{kind}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _received(request: AuthenticatedHttpRequest, project: Project) -> Import:
    """The import of a form: with the file in it, or the name of one or of a dataset."""
    if given := request.POST.get("server_file", "").strip():
        return import_actions.take_from_server(project, request.user, given[:1000])
    if given := request.POST.get("dataset", "").strip():
        parts = {name: request.POST.get(name, "")[:200] for name in ("config", "split")}
        dataset = datasets_by_name.named(given[:300], **parts)
        return import_actions.take_dataset(project, request.user, dataset)
    file = request.FILES.get("file")
    if file is None:
        raise Refusal("Choose a file first.")
    check_size(file.size)
    return import_actions.receive(project, request.user, file, file.name or "")


def _import_of(request: HttpRequest, slug: str, uuid: UUID) -> tuple[Project, Import]:
    project = project_or_404(request, slug, "admin")
    import_ = project.imports.select_related("created_by").filter(uuid=uuid).first()
    if import_ is None:
        raise Http404("The project has no such import.")
    return project, import_


def _answered(
    request: AuthenticatedHttpRequest, slug: str, uuid: UUID, action: Callable[[Import], Any]
) -> HttpResponseRedirect:
    project, import_ = _import_of(request, slug, uuid)
    try:
        action(import_)
    except Refusal as refusal:
        messages.warning(request, str(refusal))
    return redirect("import", project.slug, import_.uuid)


def _choose(request: AuthenticatedHttpRequest, import_: Import) -> bool:
    """Take over the columns of the form, and its answers; whether the file is read anew."""
    checked = import_.report.get("check", {})
    shown = {
        field["name"]: request.POST[f"field-{field['name']}"]
        for field in checked.get("fields", [])
        if f"field-{field['name']}" in request.POST
    }
    answers = {
        (question["column"], question["field"]): request.POST[f"answer-{place}"] == "yes"
        for place, question in enumerate(import_job.open_questions(import_))
        if request.POST.get(f"answer-{place}") in ("yes", "no")
    }
    by, encoding = request.POST.get("pairs_by"), request.POST.get("encoding")
    return import_actions.choose_columns(import_, shown, answers, pairs_by=by, encoding=encoding)


def _list_page(
    request: AuthenticatedHttpRequest, project: Project, *, problem: str = "", status: int = 200
) -> HttpResponse:
    rows = project.imports.select_related("created_by").order_by("-pk")
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "tab": "imports",
        "problem": problem,
        "page": page,
        "imports": [_entry(import_) for import_ in page],
        "most": MAX_REQUEST,
        "piece": MAX_PIECE // 4,
        "has_roots": bool(upload_files.roots()),
        "offered": upload_files.offered(),
    }
    return render(request, "annotate/imports.html", context, status=status)


def _entry(import_: Import) -> dict[str, Any]:
    stage = import_actions.stage(import_)
    written = import_.report.get("written")
    return {
        "import": import_,
        "stage": stage,
        "added": Report.from_dict(written).added_in_words() if written else "",
        "offset": upload_files.offset(import_) if stage == "uploading" else 0,
    }


def _is_busy(import_: Import) -> bool:
    return import_.state in (Import.State.WAITING, Import.State.RUNNING)


def _context(project: Project, import_: Import) -> dict[str, Any]:
    stage = import_actions.stage(import_)
    context = {
        "project": project,
        "tab": "imports",
        "import": import_,
        "stage": stage,
        "busy": _is_busy(import_),
        "standstill": import_actions.standstill(import_),
        "reported": upload_files.problems_path(import_).exists(),
    }
    if stage in ("asking", "ready"):
        context |= _checked(import_)
    if written := import_.report.get("written"):
        kept = Report.from_dict(written)
        context |= {"report": kept, "problems": _problems(kept)}
        if sum(kept.added.values()) <= LOOKED_THROUGH or import_.undone_at:
            context["undo_refusal"] = import_actions.undo_refusal(import_)
    elif import_.finished and is_begun(import_) and not import_.undone_at:
        context |= {"half_written": True, "undo_refusal": import_actions.undo_refusal(import_)}
    return context


def _checked(import_: Import) -> dict[str, Any]:
    """Context of an import that waits for its owner."""
    check = import_.report["check"]
    report = Report.from_dict(check["report"])
    names = [column["name"] for column in check["columns"]]
    fields = [
        field | {"column": check["mapping"].get(field["name"], "")} for field in check["fields"]
    ]
    main = [field for field in fields if field["name"] in MAIN_FIELDS or field["column"]]
    return {
        "check": check,
        "report": report,
        "problems": _problems(report),
        "obstacle": import_job.obstacle(import_),
        "questions": [
            question | {"why": re.sub("`([^`]*)`", "“\\1”", question["why"])}
            for question in import_job.open_questions(import_)
        ],
        "columns": check["columns"],
        "names": list(names),
        "main_fields": main,
        "more_fields": [field for field in fields if field not in main],
        "pairs": [_shown(pair) for pair in check["preview"]],
        "judged": import_job.judged(import_),
        "strict": bool(import_.options.get("strict")),
        "pairs_by": import_.options.get("pairs_by", ""),
        "encodings": ENCODINGS if check.get("encoding") or import_.options.get("encoding") else {},
        "encoding": import_.options.get("encoding") or check.get("encoding"),
        "remembered": import_.report.get("remembered"),
    }


def _shown(pair: dict[str, Any]) -> dict[str, Any]:
    """A row of the preview, with the letters of its replies."""
    replies = [
        reply | {"letter": letter} for letter, reply in zip("AB", pair["replies"], strict=False)
    ]
    return pair | {"replies": replies}


def _problems(report: Report) -> list[dict[str, Any]]:
    """The first problems of both kinds, refused rows first."""
    listed: list[tuple[str, Iterable[Any]]] = [
        ("refused", report.refused),
        ("warning", report.warnings),
    ]
    every = [{"kind": kind, "problem": one} for kind, problems in listed for one in problems]
    return every[:LISTED_PROBLEMS]
