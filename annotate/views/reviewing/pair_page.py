"""One pair: its texts, who wrote them, why it was asked, its label and its history."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import pair_history, pair_reasons, source_columns


@require_safe
def pair(request: AuthenticatedHttpRequest, slug: str, pair_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    texts = ("prompt", "completion_a", "completion_b", "project", "imported_by")
    pairs = project.pairs.select_related(*texts, "label", "gold", "adjudication__reviewer")
    shown = get_object_or_404(pairs, pk=pair_id)
    imported, more_imported = source_columns.imported_votes(shown)
    context = {
        "project": project,
        "tab": "data",
        "pair": shown,
        "tags": list(dict.fromkeys([*shown.tags, *shown.prompt.tags])),
        "imported": imported,
        "more_imported": more_imported,
        "authors": pair_history.authors(shown),
        "round": pair_history.round_of(shown.source),
        "probability": pair_history.probability_of_a(shown),
        "events": pair_history.events(shown),
        "reasons": pair_reasons.reasons(shown) if project.role == "admin" else [],
    }
    return render(request, "annotate/pair.html", context)
