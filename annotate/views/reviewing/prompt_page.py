"""One prompt: its chat, what its source says of it, and the replies to it."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import source_columns

PER_PAGE = 50


@require_safe
def prompt(request: AuthenticatedHttpRequest, slug: str, prompt_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    shown = get_object_or_404(project.prompts.select_related("imported_by"), pk=prompt_id)
    replies = shown.completions.order_by("-pk")
    page = Paginator(replies, PER_PAGE).get_page(request.GET.get("page"))
    rated = source_columns.ratings(project, [completion.pk for completion in page])
    context = {
        "project": project,
        "tab": "data",
        "prompt": shown,
        "replies": [
            {"completion": completion, "ratings": rated.get(completion.pk, [])}
            for completion in page
        ],
        "page": page,
        "n_pairs": project.pairs.filter(prompt=shown).count(),
    }
    return render(request, "annotate/prompt_page.html", context)
