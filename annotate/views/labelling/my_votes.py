"""A person's own votes and skips: found again, read as they were shown, and changed."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from annotate import queue
from annotate.forms.voting_forms import ReviseForm, RewriteForm, SkipReasonForm
from annotate.models import Assignment, Project, Rewrite
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.review import search
from annotate.views.tables import LongList
from annotate.votes import scales

PAGE = 10
LETTERS = {"left": "A", "right": "B", "tie": "About the same"}
State = Assignment.State


class Entry(NamedTuple):
    """One vote or skip as its author saw the pair: A is what stood on the left."""

    own: Assignment
    prompt: list[dict[str, Any]]
    tools: list[Any]
    replies: dict[str, dict[str, Any]]
    said: str
    criteria: dict[str, str]
    form: ReviseForm | SkipReasonForm
    rewriting: RewriteForm | None

    @property
    def seconds(self) -> int:
        """Time that was counted for this vote."""
        return round((self.own.active_ms or 0) / 1000)


@require_safe
def my_votes(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug)
    text = search.words(request.GET.get("q", ""))
    asked = request.GET.get("page")
    pages = LongList(search.votes_and_skips(project, request.user, text=text), PAGE, asked=asked)
    page = pages.get_page(asked)
    context = {
        "project": project,
        "tab": "my-votes",
        "text": text,
        "page": page,
        "entries": [_entry(project, own) for own in page],
    }
    return render(request, "annotate/votes.html", context)


@require_POST
def my_vote(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    """Change a vote with what was said beside it, or the reason of a skip."""
    project = project_or_404(request, slug)
    own = Assignment.objects.of_member(request.user).in_project(project).filter(token=token).first()
    if own is None:
        raise Http404("There is no such vote of yours.")
    form = _form(project, own, request.POST)
    if not form.is_valid():
        messages.error(request, f"Nothing was changed. {_first_error(form)}")
        return redirect(_back(request, project, token))
    try:
        _change(request, token, form)
    except queue.Gone as problem:
        messages.error(request, str(problem))
    else:
        messages.success(request, "Your change is saved.")
    return redirect(_back(request, project, token))


@require_POST
def my_rewrite(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    project = project_or_404(request, slug)
    form = RewriteForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"Nothing was changed. {_first_error(form)}")
        return redirect(_back(request, project, token))
    try:
        queue.rewrite(request.user, token, **form.cleaned_data)
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except queue.Gone as problem:
        messages.error(request, str(problem))
    else:
        messages.success(request, "Your answer is saved.")
    return redirect(_back(request, project, token))


def _change(
    request: AuthenticatedHttpRequest, token: UUID, form: ReviseForm | SkipReasonForm
) -> None:
    data = form.cleaned_data
    if isinstance(form, SkipReasonForm):
        queue.skip_reason(request.user, token, data["reason"])
        return
    with queue.write():
        if data["vote"]:
            side, strength = data["vote"]
            queue.revise(request.user, token, side=side, strength=strength)
        said = {name: data[name] for name in ("reasons", "comment", "criteria")}
        queue.remark(request.user, token, **said, in_sight=True)


def _entry(project: Project, own: Assignment) -> Entry:
    shown = queue.shown(own)
    side = _side(own, own.choice)
    said = scales.said(project.scale, side, own.strength) if own.choice else "Skipped"
    criteria = {name: LETTERS[_side(own, choice)] for name, choice in own.criteria.items()}
    return Entry(
        own=own,
        prompt=shown["prompt"],
        tools=shown["tools"],
        replies={
            letter: {
                "text": shown[place],
                "messages": shown[f"{place}_messages"],
                "chosen": place == side,
            }
            for letter, place in (("A", "left"), ("B", "right"))
        },
        said=said,
        criteria=criteria,
        form=_form(project, own),
        rewriting=_rewriting(project, own, shown),
    )


def _rewriting(project: Project, own: Assignment, shown: dict[str, Any]) -> RewriteForm | None:
    """Starts from the person's better answer, else from the reply they preferred."""
    if not project.allow_rewrites or own.state != State.VOTED:
        return None
    written = Rewrite.objects.filter(assignment=own).first()
    side = _side(own, written.based_on if written else own.choice)
    side = side if side in ("left", "right") else "left"
    text = written.text if written else shown[side]
    return RewriteForm(initial={"side": side, "text": text}, auto_id=f"w{own.pk}-%s")


def _form(
    project: Project, own: Assignment, data: QueryDict | None = None
) -> ReviseForm | SkipReasonForm:
    auto_id = f"v{own.pk}-%s"
    if own.state != State.VOTED:
        reason = {"reason": own.skip_reason}
        return SkipReasonForm(data, initial=reason, auto_id=auto_id)
    side = _side(own, own.choice)
    initial: dict[str, Any] = {"reasons": own.reasons, "comment": own.comment}
    for key, (choice, strength) in scales.scale_choices(project.scale).items():
        if choice == side and strength == own.strength:
            initial["vote"] = key
    for number, name in enumerate(project.criteria):
        if name in own.criteria:
            initial[f"criterion-{number}"] = _side(own, own.criteria[name])
    return ReviseForm(data, project=project, initial=initial, auto_id=auto_id)


def _side(own: Assignment, choice: str) -> str:
    """The side of the person's screen that a completion stood on; ties stay what they are."""
    sides = {own.left: "left", "b" if own.left == "a" else "a": "right"}
    return sides.get(choice, choice)


def _first_error(form: forms.Form) -> str:
    return next(str(errors[0]) for errors in form.errors.values())


def _back(request: AuthenticatedHttpRequest, project: Project, token: UUID) -> str:
    """The same page of the list, at the vote."""
    kept = QueryDict(mutable=True)
    for name in ("q", "page"):
        if request.POST.get(name):
            kept[name] = search.words(request.POST[name])
    query = f"?{kept.urlencode()}" if kept else ""
    return f"{reverse('my-votes', args=[project.slug])}{query}#vote-{token}"
