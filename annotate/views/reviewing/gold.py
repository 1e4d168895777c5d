"""Gold pairs, for reviewers: what there is, how people did on each, a new one, off and on."""

from __future__ import annotations

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from annotate.forms.review_forms import GoldForm
from annotate.gold import gold_pairs
from annotate.models import Gold, Pair, Project
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import search

PAGE = 20
OFFERED = 10
"""Pairs to choose from; a search narrows them."""


@require_http_methods(["GET", "HEAD", "POST"])
def checks(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    pair = _pair(project, request)
    form = GoldForm(request.POST or None, project=project)
    if request.method == "POST" and pair is not None and form.is_valid():
        try:
            gold_pairs.make_gold(pair, **form.cleaned_data)
        except gold_pairs.NoGold as problem:
            form.add_error(None, str(problem))
        else:
            messages.success(request, "Saved as a gold pair.")
            return redirect("checks", slug)
    status = 400 if form.errors else 200
    return render(
        request, "annotate/checks.html", _context(request, project, pair, form), None, status
    )


@require_POST
def switch(request: AuthenticatedHttpRequest, slug: str, gold_id: int) -> HttpResponse:
    project = project_or_404(request, slug, "reviewer")
    gold = get_object_or_404(Gold, pk=gold_id, pair__project=project)
    gold_pairs.switch(gold, on=request.POST.get("active") == "yes")
    messages.success(request, "In use." if gold.active else "Switched off.")
    return redirect("checks", slug)


def _pair(project: Project, request: AuthenticatedHttpRequest) -> Pair | None:
    """The pair that the reviewer chose, if there is one."""
    chosen = (request.POST if request.method == "POST" else request.GET).get("pair", "")
    if not chosen:
        return None
    if not chosen.isdecimal() or len(chosen) > 18:
        raise Http404("There is no such pair.")
    pairs = project.pairs.select_related("prompt", "completion_a", "completion_b")
    return get_object_or_404(pairs, pk=int(chosen))


def _context(
    request: AuthenticatedHttpRequest, project: Project, pair: Pair | None, form: GoldForm
) -> dict[str, object]:
    text = search.words(request.GET.get("q", ""))
    pairs = search.pairs(project, {"q": text}) if text else gold_pairs.candidates(project)
    kept = gold_pairs.gold_pairs(project)
    return {
        "project": project,
        "tab": "checks",
        "text": text,
        "pair": pair,
        "form": form,
        "page": Paginator(kept, PAGE).get_page(request.GET.get("page")),
        "found": pairs.exclude(kind__in=gold_pairs.NEVER_GOLD)[:OFFERED] if pair is None else (),
    }
