"""Batches of pairs: made on the data page, given to people, and how far each has come."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from annotate.forms.people_forms import BatchForm
from annotate.models import Project
from annotate.models.roles import Role
from annotate.people import assigned_batches
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import search


@require_http_methods(["GET", "HEAD", "POST"])
def batches(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """All batches; a POST makes one of the pairs that the data page lists (`of`, its address)."""
    project = _project(request, slug)
    if request.method != "POST":
        return _page(request, project)
    wanted = search.Search(QueryDict(request.POST.get("of", "")))
    if not wanted.is_valid():
        return HttpResponseBadRequest("The selection is no search of the data page.")
    form = BatchForm(request.POST, project=project)
    if form.is_valid():
        pairs = search.pairs(project, wanted.cleaned_data)
        try:
            made = assigned_batches.make(project, pairs=pairs, by=request.user, **form.cleaned_data)
        except ValueError as problem:
            form.add_error(None, str(problem))
        else:
            return redirect("batch", slug, made.pk)
    return _page(request, project, form=form, of=search.address(wanted.cleaned_data), status=400)


@require_http_methods(["GET", "HEAD", "POST"])
def batch(request: AuthenticatedHttpRequest, slug: str, batch_id: int) -> HttpResponse:
    """One batch with everybody's part in it; a POST says whose it is."""
    project = _project(request, slug)
    shown = get_object_or_404(project.batches.with_progress(), pk=batch_id)
    if request.method == "POST":
        people, only = (_numbers(request.POST, name) for name in ("people", "only"))
        assigned_batches.give(shown, people, only=only)
        messages.success(request, "Saved.")
        return redirect("batch", slug, batch_id)
    context = {
        "project": project,
        "tab": "batches",
        "batch": shown,
        "shares": assigned_batches.shares(shown),
        "is_admin": project.role == Role.ADMIN,
        "address": search.address({"batch": shown.name}),
    }
    return render(request, "annotate/batch.html", context)


@require_POST
def delete(request: AuthenticatedHttpRequest, slug: str, batch_id: int) -> HttpResponse:
    """Take the batch apart; its pairs and their votes stay."""
    project = project_or_404(request, slug, "admin")
    gone = get_object_or_404(project.batches, pk=batch_id)
    assigned_batches.take_apart(gone)
    messages.success(request, f"{gone.name} is no batch any more. Its pairs and votes stay.")
    return redirect("batches", slug)


def _project(request: AuthenticatedHttpRequest, slug: str) -> Project:
    """Reviewers look, admins change."""
    return project_or_404(request, slug, "admin" if request.method == "POST" else "reviewer")


def _numbers(sent: QueryDict, name: str) -> list[int]:
    return [int(value) for value in sent.getlist(name) if value.isdecimal() and len(value) < 19]


def _page(
    request: HttpRequest, project: Project, *, status: int = 200, **shown: Any
) -> HttpResponse:
    context = {
        "project": project,
        "tab": "batches",
        "batches": project.batches.with_progress().prefetch_related("people__user"),
        "is_admin": project.role == Role.ADMIN,
    }
    return render(request, "annotate/batches.html", context | shown, status=status)
