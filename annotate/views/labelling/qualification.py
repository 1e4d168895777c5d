"""The qualification as a person takes it: one question at a time, and the outcome."""

from __future__ import annotations

from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from annotate import queue
from annotate.forms.voting_forms import VoteForm
from annotate.gold.qualification import (
    answer,
    answer_to,
    following,
    left_side,
    qualify_if_passed,
    questions,
    result,
)
from annotate.models import Assignment, Gold, Membership, Project
from annotate.people import memberships
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.views.labelling.label import chosen_view, texts
from annotate.votes import scales


@require_safe
def qualification(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The questions, this person's answers so far, and how it ended."""
    project, member = _place(request, slug)
    if queue.blocked_by(project, request.user) in ("paused", "guidelines"):
        return redirect("label", slug)
    # The questions that were left may have been switched off since the last answer.
    qualify_if_passed(member)
    context = {
        "project": project,
        "tab": "label",
        "member": member,
        "result": result(member),
        "following": following(member),
    }
    return render(request, "annotate/qualification.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def question(request: AuthenticatedHttpRequest, slug: str, gold_id: int) -> HttpResponse:
    """One question, or, once it is answered, the feedback on it."""
    project, member = _place(request, slug)
    gold = get_object_or_404(questions(project), pk=gold_id)
    if request.method == "POST":
        return _answer(request, member, gold)
    if member.qualified_at and not answer_to(member, gold):
        return redirect("qualification", slug)
    context = _asked(member, gold) | {"view": chosen_view(request)}
    return render(request, "annotate/qualification_question.html", context)


def _place(request: AuthenticatedHttpRequest, slug: str) -> tuple[Project, Membership]:
    project = project_or_404(request, slug)
    if not project.qualification:
        raise Http404("This project asks for no qualification.")
    member = memberships.membership_of(project, request.user)
    member.project = project
    return project, member


def _answer(request: AuthenticatedHttpRequest, member: Membership, gold: Gold) -> HttpResponse:
    form = VoteForm(request.POST, project=member.project)
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain")
    if member.qualified_at is None:
        answer(member, gold, form.submitted["side"])
    return redirect("qualification-question", member.project.slug, gold.pk)


def _asked(member: Membership, gold: Gold) -> dict[str, object]:
    given = answer_to(member, gold)
    left = given.left if given else left_side(member, gold)
    project = member.project
    return texts(Assignment(pair=gold.pair, left=left)) | {
        "project": project,
        "tab": "label",
        "gold": gold,
        "result": result(member),
        "given": given,
        "said": scales.on_screen(given.choice, left=left) if given else "",
        "wanted": scales.on_screen(gold.expected, left=left),
        "points": scales.points(project.scale),
        "both_bad": scales.both_bad(project.scale),
    }
