"""A project's home: the first steps, where it stands, and for annotators their own progress."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.models import Project
from annotate.models.roles import Role
from annotate.overview import home_figures, home_parts
from annotate.overview.vote_days import day_chart
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.labelling_progress import progress
from annotate.people.permissions import project_or_404


@require_safe
def project_home(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    project = project_or_404(request, slug)
    if project.role not in Role.at_least(Role.REVIEWER):
        context = {"project": project, "progress": progress(project, request.user)}
        return render(request, "annotate/annotator_home.html", context)
    return render(request, "annotate/project_home.html", _standing(project))


def _standing(project: Project) -> dict[str, Any]:
    figures = home_figures.figures(project)
    parts = home_parts.parts(project, figures)
    steps = home_parts.steps(project, figures, parts)
    return {
        "project": project,
        "figures": figures,
        "steps": steps,
        "done": sum(one.step.done for one in steps),
        "next": next((one for one in steps if not one.step.done), None),
        "parts": parts,
        "days": day_chart(figures.days),
    }
