"""Making room: what would go and how much it is; then, confirmed, it goes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotate import exchange
from training import retention
from training.forms import KeepForm


@require_http_methods(["GET", "HEAD", "POST"])
def prune(request: HttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    given = request.POST or request.GET
    form = KeepForm(given if "keep" in given else {"keep": retention.KEEP})
    if not form.is_valid():
        return _page(request, project, form, [], status=400)
    removals = retention.plan(project, keep=form.cleaned_data["keep"])
    if request.method != "POST":
        return _page(request, project, form, removals)
    if request.POST.get("plan") != retention.fingerprint(removals):
        messages.warning(request, "Something changed meanwhile. Look again at what would go.")
        return _page(request, project, form, removals, status=409)
    freed = retention.apply(removals)
    messages.success(request, f"Removed {freed / 1e6:,.1f} MB.")
    return redirect("models", project.slug)


def _page(
    request: HttpRequest,
    project: Any,
    form: KeepForm,
    removals: list[retention.Removal],
    *,
    status: int = 200,
) -> HttpResponse:
    context = {
        "project": project,
        "tab": "rounds",
        "form": form,
        "removals": removals,
        "total": sum(removal.size for removal in removals),
        "plan": retention.fingerprint(removals),
        "live": project.rounds.live().exists(),
    }
    return render(request, "training/prune.html", context, status=status)
