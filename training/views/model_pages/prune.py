"""Making room: what would go and how much it is; then, confirmed, it goes."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.figures.number_format import megabytes
from training.forms import KeepForm
from training.versions import retention


@require_http_methods(["GET", "HEAD", "POST"])
def prune(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "admin")
    given = request.POST or request.GET
    form = KeepForm(given if "keep" in given else {"keep": retention.KEEP})
    if not form.is_valid():
        return _page(request, project, form, status=400)
    if request.method != "POST":
        return _page(request, project, form)
    confirmed = request.POST.get("plan", "")
    try:
        done = retention.prune(project, keep=form.cleaned_data["keep"], confirmed=confirmed)
    except retention.Changed as error:
        messages.warning(request, str(error))
        return _page(request, project, form, status=409)
    for problem in done.held:
        messages.warning(request, problem)
    messages.success(request, f"Removed {megabytes(done.size)}.")
    return redirect("models", project.slug)


def _page(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    form: KeepForm,
    *,
    status: int = 200,
) -> HttpResponse:
    keep = form.cleaned_data.get("keep") if form.is_valid() else None
    plan = None if keep is None else retention.plan(project, keep=keep)
    context = {"project": project, "tab": "models", "form": form, "plan": plan}
    return render(request, "training/prune.html", context, status=status)
