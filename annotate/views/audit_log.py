"""The audit log of a project: who did what, page by page, and as a file."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.core.paginator import Paginator
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.audit import chain, recording
from annotate.audit.actions import ACTIONS, words
from annotate.models import AuditEntry, PersonKey
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404

PER_PAGE = 50


class Told(NamedTuple):
    """An entry as the page says it."""

    entry: AuditEntry
    who: str
    did: str
    details: list[tuple[str, Any]]


@require_safe
def audit(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "admin")
    wanted = request.GET.get("q", "")
    entries = AuditEntry.objects.of(project)
    if wanted in ACTIONS:
        entries = entries.filter(action=wanted)
    page = Paginator(entries, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "page": page,
        "told": _told(list(page)),
        "wanted": wanted,
        "choices": _choices(AuditEntry.objects.of(project)),
        "last": AuditEntry.objects.order_by("-pk").first(),
    }
    return render(request, "annotate/audit_log.html", context)


@require_safe
def download(request: AuthenticatedHttpRequest, slug: str) -> StreamingHttpResponse:
    """The project's entries as lines of JSON, oldest first."""
    project = project_or_404(request, slug, "admin")
    recording.record("audit-download", request, project_slug=project.slug)
    lines = chain.lines(AuditEntry.objects.of(project))
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project.slug}-audit.jsonl"'
    return response


def _told(entries: list[AuditEntry]) -> list[Told]:
    keys = {entry.person for entry in entries if entry.person}
    rows = PersonKey.objects.filter(key__in=keys).values_list("key", "user__username")
    names = dict(rows)
    return [
        Told(
            entry,
            names.get(entry.person, "An erased person") if entry.person else "The operator",
            words(entry.action),
            [(name.replace("_", " "), value) for name, value in entry.details.items()],
        )
        for entry in entries
    ]


def _choices(entries: Any) -> list[tuple[str, str]]:
    """The actions that the log of this project has, by their words."""
    # Without the order of the page, or each entry would be an action of its own.
    names = entries.order_by("action").values_list("action", flat=True).distinct()
    return sorted(((name, words(name)) for name in names), key=lambda choice: choice[1])
