"""The front door: straight to work for a person with one project."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.people.requests import AuthenticatedHttpRequest


@require_safe
def home(request: AuthenticatedHttpRequest) -> HttpResponse:
    own = Project.objects.for_user(request.user).filter(archived=False)[:2]
    return redirect(own[0]) if len(own) == 1 else redirect("projects")
