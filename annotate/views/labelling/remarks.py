"""Remarks beside a vote or a skip, from the screen behind it: never asked for, never
waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from annotate import queue
from annotate.forms.voting_forms import RemarkForm
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.votes.scales import FLAGS, SKIP_REASONS, SKIPS

# Letters that the screen uses otherwise; those of the skip reasons are never shown beside chips.
TAKEN = set("defghnrsuvw")


def lettered(chips: Sequence[str]) -> list[tuple[str, str]]:
    """Each chip with the key that presses it: a letter of its own text where one is free."""
    free = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in TAKEN]
    keys = []
    for chip in chips:
        own = next((letter for letter in chip.lower() if letter in free), "")
        letter = own or next(iter(free), "")
        if letter:
            free.remove(letter)
        keys.append((chip, letter))
    return keys


@require_POST
def remark(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    """Reasons, a comment and comparisons by criterion, beside one's own standing vote."""
    project = project_or_404(request, slug)
    form = RemarkForm(request.POST, project=project)
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
    said = {name: form.cleaned_data[name] for name in ("reasons", "comment", "criteria")}
    return _done(request, slug, queue.remark, token, **said)


@require_POST
def skip_reason(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    project_or_404(request, slug)
    reason = request.POST.get("reason", "")
    if reason not in SKIP_REASONS:
        return HttpResponseBadRequest("reason is none of the list", content_type="text/plain")
    return _done(request, slug, queue.skip_reason, token, reason)


@require_POST
def flag(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    project_or_404(request, slug)
    kind = request.POST.get("kind", "")
    if kind not in FLAGS:
        return HttpResponseBadRequest("kind is none of the list", content_type="text/plain")
    return _done(request, slug, queue.flag, token, kind)


def _done(
    request: AuthenticatedHttpRequest,
    slug: str,
    act: Callable[..., Any],
    token: UUID,
    *given: Any,
    **said: Any,
) -> HttpResponse:
    try:
        act(request.user, token, *given, **said)
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except queue.Gone as problem:
        return HttpResponse(str(problem), status=409, content_type="text/plain")
    return HttpResponse(status=204) if request.htmx else redirect("label", slug)


def offered(chips: Sequence[str]) -> dict[str, Any]:
    """Context with which the screen offers them."""
    letters = {"unsafe": "x", "pii": "p", "broken": "b"}
    return {
        "chips": lettered(chips),
        "skip_reasons": SKIPS,
        "flags": [(kind, title, letters[kind]) for kind, title in FLAGS.items()],
    }
