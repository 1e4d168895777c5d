"""The labelling screen: one pair, one vote, and the next pair in the answer to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse, HttpResponseBadRequest, QueryDict
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from annotate import queue
from annotate.forms.voting_forms import UndoForm, VoteForm, plain_vote
from annotate.models import Assignment, Project
from annotate.people import guidelines
from annotate.people.active_time import words_of
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.labelling_progress import Progress, open_pairs, progress, today
from annotate.people.permissions import project_or_404
from annotate.review.models_trained_on_votes import effect
from annotate.text.chat_turns import question, tools, turns
from annotate.text.word_diff import word_diff
from annotate.views.labelling import criteria, kept_screen
from annotate.views.labelling.remarks import offered
from annotate.votes import scales

LONG = 14
"""Lines of a reply on a phone, beyond which two are read one beside the other."""
SHORT = 16
"""Lines of prompt and reply together, counted so, up to which the vote bar can follow them."""


@dataclass(frozen=True)
class Note:
    """Outcome of the last key: shown beside the undo button, which takes `last` back."""

    text: str
    level: str = "success"
    last: UUID | None = None


@require_safe
def label(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The pair on this person's screen; with `after`, its token, the one that comes then."""
    project = project_or_404(request, slug)
    after = _after(request)
    assignment = queue.next_pair(project, request.user, after=after)
    if after and assignment is None:
        return HttpResponse(status=204)
    return _screen(request, project, assignment)


@require_POST
def vote(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    project = project_or_404(request, slug)
    said = plain_vote(request.POST, project)
    if said is None:
        form = VoteForm(request.POST, project=project)
        if not form.is_valid():
            return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
        said = form.submitted, form.caption
    submitted, caption = said
    try:
        # The vote and the lease of the pair that follows are one commit.
        with queue.write():
            cast = queue.vote_side(request.user, token, **submitted)
            # A token of another project holds that one's membership, not the one leased by here.
            here = cast.assignment.pair.project_id == project.pk
            following = _following(request, project, voted=here)
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except (queue.ChoiceConflict, queue.Gone) as problem:
        return _refused(request, project, problem)
    if cast.status == "surplus":
        caption += " (kept as an extra vote: others filled the pair meanwhile)"
    return _answer(request, project, Note(caption, last=token), following)


@require_POST
def skip(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    project = project_or_404(request, slug)
    try:
        with queue.write():
            queue.skip(request.user, token)
            following = _following(request, project)
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    except queue.Gone as problem:
        return _refused(request, project, problem)
    return _answer(request, project, Note("Skipped", last=token), following)


@require_POST
def undo(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
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
        return _refused(request, project, problem)
    if taken_back is None:
        following = _following(request, project)
        return _answer(request, project, Note("Nothing to take back", "info"), following)
    return _answer(request, project, Note("Taken back", "info"), taken_back)


def _following(
    request: AuthenticatedHttpRequest, project: Project, *, voted: bool = False
) -> Assignment | None:
    """The pair to show after a vote, skip or undo: the next one, or the one after that which the
    page says it shows already. A redirect shows nothing."""
    if not request.htmx:
        return None
    return queue.next_pair(project, request.user, after=_after(request), voted=voted)


@require_POST
def renew(request: AuthenticatedHttpRequest, slug: str, token: UUID) -> HttpResponse:
    """The heartbeat of a page on which somebody reads: 204, or 410 when the lease has ended."""
    project_or_404(request, slug)
    try:
        until = queue.renew(request.user, token)
    except queue.UnknownAssignment as error:
        raise Http404(str(error)) from error
    return HttpResponse(status=204 if until else 410)


def _answer(
    request: AuthenticatedHttpRequest,
    project: Project,
    note: Note,
    assignment: Assignment | None,
    *,
    status: int = 200,
) -> HttpResponse:
    """The next pair in this very answer; without JavaScript, a redirect to it."""
    if not request.htmx:
        getattr(messages, note.level)(request, note.text)
        return redirect(_address(request, project))
    return _screen(request, project, assignment, note=note, status=status)


def _refused(
    request: AuthenticatedHttpRequest, project: Project, problem: Exception
) -> HttpResponse:
    note = Note(str(problem), "error")
    return _answer(request, project, note, _following(request, project), status=409)


def _screen(
    request: AuthenticatedHttpRequest,
    project: Project,
    assignment: Assignment | None,
    *,
    note: Note | None = None,
    status: int = 200,
) -> HttpResponse:
    done = (today if assignment else progress)(project, request.user)
    tally = render_to_string("annotate/label_tally.html", {"progress": done})
    note = note or _message(request)
    if assignment is not None and request.htmx:
        return HttpResponse(_next_screen(request, project, assignment, note, tally), status=status)
    context: dict[str, Any] = {
        "project": project,
        "tab": "label",
        "assignment": assignment,
        "progress": done,
        "tally": tally,
        "note": note,
        "view": chosen_view(request),
        "both_bad": scales.both_bad(project.scale),
    }
    if not request.htmx:
        # Beside the screen, which is all that a script asks for.
        context |= offered(project.reason_chips)
    if assignment is not None:
        pair = _pair(request, assignment)
        context |= {"pair_html": pair.html, "words": pair.words, "short": pair.short}
        context["lease_seconds"] = _lease_seconds(assignment)
        context["scale_buttons"] = kept_screen.scale_buttons(project.scale)
        context["criteria"] = criteria.rows(project, assignment)
        context["answers"] = criteria.answers(project.scale)
    else:
        blocked_by = queue.blocked_by(project, request.user)
        context |= _waiting(project, request.user, done, blocked_by)
        if blocked_by == "guidelines":
            context["changes"] = guidelines.changes(project, request.user)
        if request.htmx and request.GET.get("seen") == context["stamp"]:
            return HttpResponse(status=204)
        context["effect"] = effect(project, request.user)
        own = Assignment.objects.of_member(request.user).in_project(project)
        context["undoable"] = own.last_vote_or_skip() is not None
    template = "annotate/label.html" + ("#screen" if request.htmx else "")
    return render(request, template, context, status=status)


def _next_screen(
    request: AuthenticatedHttpRequest,
    project: Project,
    assignment: Assignment,
    note: Note | None,
    tally: str,
) -> str:
    """The screen of a pair as a script asks for it, of pieces that are kept."""
    pair = _pair(request, assignment)
    key = kept_screen.FrameKey.of(
        project,
        criteria=tuple(criteria.rows(project, assignment)),
        view=chosen_view(request),
        short=pair.short,
        note_level=note.level if note else "",
        has_last=bool(note and note.last),
    )
    values = {
        "token": assignment.token,
        "lease_seconds": _lease_seconds(assignment),
        "words": pair.words,
        "person": request.user.pk,
        "path": request.path,
        "tally": tally,
        "pair": pair.html,
        "csrf_token": get_token(request),
        "note_text": note.text if note else "",
        "note_last": note.last if note else "",
    }
    return kept_screen.frame(key).around(values)


def _pair(request: AuthenticatedHttpRequest, assignment: Assignment) -> kept_screen.PairOnScreen:
    shown = queue.shown(assignment)
    return kept_screen.kept_pair(shown, chosen_view(request), lambda: texts(assignment))


def _lease_seconds(assignment: Assignment) -> int:
    lease = assignment.expires_at - timezone.now() if assignment.expires_at else timedelta()
    return round(lease.total_seconds())


def texts(assignment: Assignment) -> dict[str, Any]:
    shown = queue.shown(assignment)
    sources = word_diff(shown["left"], shown["right"])
    replies = [
        {
            "letter": letter,
            "text": shown[side],
            "turns": turns(shown[f"{side}_messages"] or ()),
            "source": source,
            "cut": shown[f"{side}_cut"],
        }
        for letter, side, source in zip("AB", ("left", "right"), sources, strict=True)
    ]
    longest = max(_lines_on_a_phone(reply["text"]) for reply in replies)
    context = asked(shown["prompt"], shown["tools"])
    return context | {
        "words": words_of(assignment),
        "replies": replies,
        "long": longest > LONG,
        "short": longest + _lines_of_prompt(context) <= SHORT,
    }


def _lines_of_prompt(context: dict[str, Any]) -> int:
    """Lines as on a phone, one more for who speaks; of a prompt with more than text, many."""
    every = [*context["earlier"], *context["question"]]
    if context["tools"] or any(turn.calls or turn.thinking or turn.unseen for turn in every):
        return SHORT
    return sum(1 + _lines_on_a_phone(turn.text) for turn in every)


def _lines_on_a_phone(text: str) -> int:
    return sum(1 + len(line) // 40 for line in text.splitlines())


def asked(messages: Sequence[Mapping[str, Any]], described: Sequence[Any] | None) -> dict[str, Any]:
    """Context of prompt.html: the turns that the replies answer, those before, and the tools."""
    earlier, last = question(turns(messages))
    return {"earlier": earlier, "question": last, "tools": tools(described)}


def _waiting(project: Project, user: User, done: Progress, blocked_by: str) -> dict[str, Any]:
    """Context of the empty screen; the stamp tells a poll whether that has changed."""
    all_pairs = project.pairs.asked_about().count()
    waiting = open_pairs(project, user)
    stamp = f"{done.total}-{waiting}-{all_pairs}-{project.archived}-{blocked_by}"
    if blocked_by == "guidelines":
        stamp += f"-{project.guideline_version}"
    return {
        "all_pairs": all_pairs,
        "open_pairs": waiting,
        "stamp": stamp,
        "blocked_by": blocked_by,
    }


def _message(request: AuthenticatedHttpRequest) -> Note | None:
    """The last message of a redirect, for the place where the note stands."""
    stored = list(messages.get_messages(request))
    return Note(str(stored[-1]), stored[-1].level_tag) if stored else None


def _sent(request: AuthenticatedHttpRequest) -> QueryDict:
    return request.POST if request.method == "POST" else request.GET


def chosen_view(request: AuthenticatedHttpRequest) -> str:
    """View in which replies are first shown; a script then follows what the person last chose."""
    view = "raw" if _sent(request).get("raw") == "1" else _sent(request).get("view", "")
    return view if view in ("raw", "diff") else ""


def _after(request: AuthenticatedHttpRequest) -> UUID | None:
    """The token of the pair that the page shows meanwhile."""
    try:
        return UUID(_sent(request).get("after", ""))
    except ValueError:
        return None


def _address(request: AuthenticatedHttpRequest, project: Project) -> str:
    view = chosen_view(request)
    return reverse("label", args=[project.slug]) + (f"?view={view}" if view else "")
