"""A person's own page: what they did, and what reviewers wrote to them.

Nothing here tells which pairs are checks, what others answered or how often they agreed.
"""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from annotate.gold import qualification
from annotate.models import Message, Project
from annotate.people import assigned_batches
from annotate.people.annotator_figures import votes_per_day
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.labelling_progress import progress
from annotate.people.permissions import project_or_404
from annotate.review.models_trained_on_votes import effect


@require_safe
def me(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug)
    # A superuser votes without a membership of their own.
    member = project.memberships.filter(user=request.user).first()
    days = votes_per_day(project, request.user.pk)
    context = {
        "project": project,
        "tab": "me",
        "member": member,
        "progress": progress(project, request.user),
        "effect": effect(project, request.user),
        "days": days,
        "batches": assigned_batches.of_person(project, request.user),
        "attempts": qualification.results(member) if member else [],
        "most": max((day.votes for day in days), default=0),
        "unread": _messages(request, project).filter(read_at=None).order_by("created_at"),
        "read": _messages(request, project).exclude(read_at=None).order_by("-created_at")[:10],
    }
    return render(request, "annotate/me.html", context)


@require_POST
def read(request: AuthenticatedHttpRequest, slug: str, message_id: int) -> HttpResponse:
    project = project_or_404(request, slug)
    message = get_object_or_404(_messages(request, project), pk=message_id)
    Message.objects.filter(pk=message.pk, read_at=None).update(read_at=timezone.now())
    return redirect("me", slug)


def _messages(request: AuthenticatedHttpRequest, project: Project) -> QuerySet[Message]:
    return Message.objects.filter(member__project=project, member__user=request.user)
