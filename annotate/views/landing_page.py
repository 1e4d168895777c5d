"""The front door: what Pairloop is for visitors, straight to work for a person with one project."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.models.roles import Role
from annotate.people.permissions import role_of


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    user = request.user
    if not user.is_authenticated:
        return render(request, "annotate/landing.html", {"form": AuthenticationForm(request)})
    own = Project.objects.for_user(user).filter(archived=False)[:2]
    if len(own) != 1:
        return redirect("projects")
    votes_only = role_of(user, own[0]) == Role.ANNOTATOR
    return redirect("label" if votes_only else "project-home", own[0].slug)
