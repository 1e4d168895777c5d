"""A new round: its method, how thorough it is, its settings, and what it will need."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.plans import expected_cost, round_settings
from training.plans.round_form import RoundForm
from training.rounds import loop_state, start_and_cancel
from training.versions import people_verdict


@require_safe
def new(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The form; htmx asks for what the settings in it would need."""
    project = exchange.project_or_404(request, slug, "admin")
    form = RoundForm(request.GET if request.GET else None, project=project)
    context = _context(project, form)
    if request.htmx:
        reshaped = request.GET.get("shape") != form.shape
        return render(request, "training/start_round.html#need", context | {"reshaped": reshaped})
    return render(request, "training/start_round.html", context)


@require_POST
def start(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """Start the round, or save its settings for coming ones alone (`act` is save)."""
    project = exchange.project_or_404(request, slug, "admin")
    form = RoundForm(request.POST, project=project)
    if not form.is_valid():
        return render(request, "training/start_round.html", _context(project, form), status=400)
    choice = form.choice()
    if request.POST.get("act") == "save":
        round_settings.save(project, choice)
        messages.success(request, "Coming rounds will have these settings.")
        return redirect("round-new", project.slug)
    try:
        round_ = start_and_cancel.start_round(
            project, by=request.user, trigger="admin", seed=form.cleaned_data["seed"], choice=choice
        )
    except start_and_cancel.RoundRefused as error:
        messages.warning(request, str(error))
        return redirect("rounds", project.slug)
    if form.cleaned_data["save"]:
        round_settings.save(project, choice)
    messages.success(request, f"Round {round_.number} starts as soon as a worker is free.")
    return redirect("rounds", project.slug)


def _context(project: exchange.Project, form: RoundForm) -> dict[str, Any]:
    state = loop_state.state(project)
    whole = form.whole if form.is_bound and form.is_valid() else None
    if not form.is_bound:
        whole = _usual(project, form)
    return {
        "project": project,
        "tab": "rounds",
        "is_admin": True,
        "form": form,
        "state": state,
        "estimate": expected_cost.estimate(project, whole) if whole else None,
        "accuracy": expected_cost.past_accuracy(project),
        "power": people_verdict.power(project, whole),
    }


def _usual(project: exchange.Project, form: RoundForm) -> dict[str, Any] | None:
    """The settings of a form that nobody has changed yet; None where the saved ones are refused."""
    try:
        return round_settings.resolve(project, form.saved)
    except round_settings.SettingsRefused:
        return None
