"""The labelling screen: one pair, one vote, and the next pair in the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from annotate import queue
from annotate.forms import UndoForm, VoteForm
from annotate.markup import capped, reveal
from annotate.models import Assignment, Project
from annotate.permissions import project_or_404
from annotate.progress import Progress, progress


class Point(NamedTuple):
    """One button of the scale: its key, all keys that press it, and its caption in parts.

    A narrow screen shows `side` and `how` alone.
    """

    key: str
    keys: str
    side: str
    how: str
    rest: str = ""
    before: str = ""

    @property
    def caption(self) -> str:
        return " ".join(part for part in (self.side, self.before, self.how, self.rest) if part)


# Laid out as the hand lies on the keys: left is A, right is B.
POINTS = [
    Point("1", "1", "A", "much", "better"),
    Point("2", "2 ArrowLeft", "A", "better"),
    Point("3", "3", "A", "slightly", "better"),
    Point("4", "4 ArrowDown", "", "same", before="About the"),
    Point("5", "5", "B", "slightly", "better"),
    Point("6", "6 ArrowRight", "B", "better"),
    Point("7", "7", "B", "much", "better"),
]
CAPTIONS = {point.key: point.caption for point in POINTS} | {"8": "Both bad"}
ROLES = {"system": "Instructions", "user": "User", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True)
class Note:
    """What became of the last key: shown beside the undo button, which takes `last` back."""

    text: str
    level: str = "success"
    last: UUID | None = None


@require_safe
def label(request: HttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug)
    return _screen(request, project, queue.next_pair(project, request.user))


@require_POST
def vote(request: HttpRequest, slug: str, token: UUID) -> HttpResponse:
    project = project_or_404(request, slug)
    form = VoteForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
    side, strength = form.cleaned_data["vote"]
    active_ms = form.cleaned_data["active_ms"]
    try:
        cast = queue.vote_side(
            request.user, token, side=side, strength=strength, active_ms=active_ms
        )
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except (queue.ChoiceConflict, queue.Gone) as problem:
        return _answer(request, project, Note(str(problem), "error"), status=409)
    said = CAPTIONS[request.POST["vote"]]
    if cast.status == "surplus":
        said += " (kept as an extra vote: others filled the pair meanwhile)"
    return _answer(request, project, Note(said, last=token))


@require_POST
def skip(request: HttpRequest, slug: str, token: UUID) -> HttpResponse:
    project = project_or_404(request, slug)
    try:
        queue.skip(request.user, token)
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except queue.Gone as problem:
        return _answer(request, project, Note(str(problem), "error"), status=409)
    return _answer(request, project, Note("Skipped", last=token))


@require_POST
def undo(request: HttpRequest, slug: str) -> HttpResponse:
    """Take back the act that `last` names, so that repeating the request is harmless; a page
    that does not know it takes back whatever was last."""
    project = project_or_404(request, slug)
    form = UndoForm(request.POST)
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
    last = form.cleaned_data["last"]
    try:
        taken_back = (
            queue.undo_token(request.user, last) if last else queue.undo(request.user, project)
        )
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except queue.Gone as problem:
        return _answer(request, project, Note(str(problem), "error"), status=409)
    if taken_back is None:
        return _answer(request, project, Note("Nothing to take back", "info"))
    return _answer(request, project, Note("Taken back", "info"), assignment=taken_back)


def _answer(
    request: HttpRequest,
    project: Project,
    note: Note,
    *,
    assignment: Assignment | None = None,
    status: int = 200,
) -> HttpResponse:
    """The next pair in this very answer; without JavaScript, a redirect to it."""
    if not request.htmx:
        getattr(messages, note.level)(request, note.text)
        return redirect(_address(request, project))
    assignment = assignment or queue.next_pair(project, request.user)
    return _screen(request, project, assignment, note=note, status=status)


def _screen(
    request: HttpRequest,
    project: Project,
    assignment: Assignment | None,
    *,
    note: Note | None = None,
    status: int = 200,
) -> HttpResponse:
    done = progress(project, request.user)
    context: dict[str, Any] = {
        "project": project,
        "tab": "label",
        "assignment": assignment,
        "progress": done,
        "note": note or _message(request),
        "raw": _raw(request),
        "points": POINTS,
    }
    if assignment is not None:
        context |= _texts(assignment, raw=_raw(request))
    else:
        context |= _waiting(project, done)
        if request.htmx and request.GET.get("seen") == context["stamp"]:
            return HttpResponse(status=204)
    template = "annotate/label.html" + ("#screen" if request.htmx else "")
    return render(request, template, context, status=status)


def _texts(assignment: Assignment, *, raw: bool) -> dict[str, Any]:
    shown = queue.shown(assignment)
    turns = [
        {"role": ROLES.get(turn["role"], turn["role"]), "text": turn["content"]}
        for turn in shown["prompt"]
    ]
    texts = {"earlier": turns[:-1], "turn": turns[-1]}
    replies = {"A": shown["left"], "B": shown["right"]}
    if raw:
        replies = {letter: capped(reveal(text))[0] for letter, text in replies.items()}
    return texts | {"replies": replies}


def _waiting(project: Project, done: Progress) -> dict[str, Any]:
    """What the empty screen says; the stamp tells a poll whether that has changed."""
    all_pairs = project.pairs.count()
    stamp = f"{done.total}-{done.open_pairs}-{all_pairs}-{project.archived}"
    return {"all_pairs": all_pairs, "stamp": stamp}


def _message(request: HttpRequest) -> Note | None:
    """The last message of a redirect, for the place where the note stands."""
    stored = list(messages.get_messages(request))
    return Note(str(stored[-1]), stored[-1].level_tag) if stored else None


def _raw(request: HttpRequest) -> bool:
    return (request.POST if request.method == "POST" else request.GET).get("raw") == "1"


def _address(request: HttpRequest, project: Project) -> str:
    return reverse("label", args=[project.slug]) + ("?raw=1" if _raw(request) else "")
