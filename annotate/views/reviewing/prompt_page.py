"""One prompt: its chat, what its source says of it, and the replies to it."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from annotate.people.permissions import project_or_404
from annotate.people.requests import AuthenticatedHttpRequest
from annotate.review import source_columns

MOST = 50
"""Replies that are shown."""


@require_safe
def prompt(request: AuthenticatedHttpRequest, slug: str, prompt_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    shown = get_object_or_404(project.prompts.select_related("imported_by"), pk=prompt_id)
    completions = list(shown.completions.order_by("pk")[:MOST])
    rated = source_columns.ratings(project, [completion.pk for completion in completions])
    context = {
        "project": project,
        "tab": "data",
        "prompt": shown,
        "replies": [
            {"completion": completion, "ratings": rated.get(completion.pk, [])}
            for completion in completions
        ],
        "n_replies": shown.completions.count(),
        "n_pairs": project.pairs.filter(prompt=shown).count(),
    }
    return render(request, "annotate/prompt_page.html", context)
