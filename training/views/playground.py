"""The playground: one prompt, several models side by side, text while it is written."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate import exchange
from annotate.exchange import AuthenticatedHttpRequest
from training.forms import TrialForm
from training.models import Trial
from training.playground import prompt_trials
from training.rounds import loop_state
from training.views.polling import STOP_POLLING, unchanged

RECENT = 8
DEFAULTS = {"temperature": 0.7, "max_new_tokens": 128}


@require_http_methods(["GET", "HEAD", "POST"])
def home(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """A new prompt: empty, one of the project's, or the next turn of an earlier trial."""
    project = exchange.project_or_404(request, slug, "reviewer")
    if request.method != "POST":
        form = _form(project, initial=_initial(request, project))
        return _page(request, project, form)
    form = _form(project, request.POST)
    if not form.is_valid():
        return _page(request, project, form, status=400)
    try:
        trial = prompt_trials.ask(project, request.user, **form.trial())
    except prompt_trials.Refused as error:
        form.add_error(None, str(error))
        return _page(request, project, form, status=429)
    return redirect("trial", project.slug, trial.uuid)


@require_safe
def trial(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """A trial with its replies, and the form to ask it again in other ways."""
    project = exchange.project_or_404(request, slug, "reviewer")
    asked = _trial(request, project, uuid)
    return _page(request, project, _form(project, initial=_again(asked)), asked)


@require_safe
def progress(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """The replies, asked for twice a second while they are written."""
    project = exchange.project_or_404(request, slug, "reviewer")
    trial = _trial(request, project, uuid)
    if trial.live and unchanged(request, _stamp(trial)):
        return HttpResponse(status=204)
    context = _trial_context(project, trial)
    response = render(request, "training/playground.html#replies", context)
    response.status_code = 200 if trial.live else STOP_POLLING
    return response


@require_POST
def stop(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    project = exchange.project_or_404(request, slug, "reviewer")
    prompt_trials.stop(_trial(request, project, uuid))
    return redirect("trial", project.slug, uuid)


@require_POST
def queue(request: AuthenticatedHttpRequest, slug: str, uuid: UUID) -> HttpResponse:
    """Turn two replies into a pair for the annotators."""
    project = exchange.project_or_404(request, slug, "admin")
    trial = _trial(request, project, uuid)
    try:
        first, second = (int(request.POST.get(name, "")) for name in ("a", "b"))
        added = prompt_trials.queue_pair(trial, first, second)
    except ValueError:
        messages.warning(request, "Choose two replies.")
    except prompt_trials.Refused as error:
        messages.warning(request, str(error))
    else:
        said = "The pair is in the queue." if added else "That pair was queued before."
        messages.success(request, said)
    return redirect("trial", project.slug, uuid)


def _trial(request: AuthenticatedHttpRequest, project: exchange.Project, uuid: UUID) -> Trial:
    """One's own trial: what others try is their own business."""
    Trial.objects.close_lost()
    trials = Trial.objects.select_related("project")
    return get_object_or_404(trials, project=project, user=request.user, uuid=uuid)


def _form(project: exchange.Project, *args: Any, **kwargs: Any) -> TrialForm:
    return TrialForm(*args, choices=prompt_trials.choices(project), **kwargs)


def _suggested(project: exchange.Project, model: str) -> dict[str, Any]:
    names = prompt_trials.suggested(project, model)
    named = dict(zip(TrialForm.PLACES, names, strict=False))
    return DEFAULTS | named | {"seed": secrets.randbelow(10_000)}


def _initial(request: AuthenticatedHttpRequest, project: exchange.Project) -> dict[str, Any]:
    return _suggested(project, request.GET.get("model", "")) | _begun(request, project)


def _begun(request: AuthenticatedHttpRequest, project: exchange.Project) -> dict[str, Any]:
    """The chat that the address names: ?prompt=any, ?prompt=7, or ?after=TRIAL&reply=0."""
    prompt = request.GET.get("prompt", "")
    if prompt == "any" or (prompt.isdecimal() and len(prompt) < 18):
        return _split(exchange.one_prompt(project, None if prompt == "any" else int(prompt)) or [])
    if after := request.GET.get("after"):
        return _continued(request, project, after, request.GET.get("reply", ""))
    return {}


def _split(chat: list[dict[str, str]]) -> dict[str, Any]:
    """A chat as the form holds it: instructions, earlier turns, the last message."""
    system = chat[0]["content"] if chat and chat[0]["role"] == "system" else ""
    turns = chat[1:] if system else chat
    if turns and turns[-1]["role"] == "user":
        return {"system": system, "history": turns[:-1], "message": turns[-1]["content"]}
    return {"system": system, "history": turns}


def _continued(
    request: AuthenticatedHttpRequest, project: exchange.Project, uuid: str, place: str
) -> dict[str, Any]:
    trials = Trial.objects.filter(project=project, user=request.user, uuid__in=_uuids(uuid))
    trial = trials.first()
    if trial is None or not place.isdecimal() or int(place[:3]) >= len(trial.replies):
        return {}
    said = {"role": "assistant", "content": trial.replies[int(place[:3])].get("text", "")}
    return _again(trial) | _split([*trial.messages, said]) | {"message": ""}


def _uuids(text: str) -> list[UUID]:
    try:
        return [UUID(text)]
    except ValueError:
        return []


def _again(trial: Trial) -> dict[str, Any]:
    """The form as it was when the trial was asked."""
    named = dict(zip(TrialForm.PLACES, trial.choices, strict=False))
    same = {key: getattr(trial, key) for key in ("temperature", "max_new_tokens", "seed")}
    return named | same | _split(trial.messages)


def _page(
    request: AuthenticatedHttpRequest,
    project: exchange.Project,
    form: TrialForm,
    trial: Trial | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    recent = Trial.objects.filter(project=project, user=request.user).order_by("-pk")
    if trial is not None:
        recent = recent.exclude(pk=trial.pk)
    context = {
        "project": project,
        "tab": "playground",
        "form": form,
        "earlier": _earlier(form),
        "possible": bool(form.fields["first"].choices),  # type: ignore[attr-defined]
        "absent": loop_state.absent_worker(),
        "recent": list(recent[:RECENT]),
    }
    context |= _trial_context(project, trial) if trial else {}
    return render(request, "training/playground.html", context, status=status)


def _earlier(form: TrialForm) -> list[dict[str, str]]:
    """The turns before the message, to read; what cannot be read is said by the field's error."""
    if not form.is_bound:
        return list(form.initial.get("history", []))
    return list(form.cleaned_data.get("history") or []) if hasattr(form, "cleaned_data") else []


def _trial_context(project: exchange.Project, trial: Trial) -> dict[str, Any]:
    return {
        "project": project,
        "is_admin": project.role == "admin",
        "trial": trial,
        "turns": trial.messages,
        "columns": prompt_trials.columns(trial),
        "status": prompt_trials.status(trial),
        "stamp": _stamp(trial),
    }


def _stamp(trial: Trial) -> str:
    shown = [trial.state, trial.stage, trial.replies, trial.error, prompt_trials.status(trial)]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
