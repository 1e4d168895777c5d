"""The labelling screen as the settings page shows it while its fields change."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.forms.project_forms import LinesField
from annotate.models import Project
from annotate.people.http_requests import AuthenticatedHttpRequest
from annotate.people.permissions import project_or_404
from annotate.views.labelling import criteria
from annotate.views.labelling.remarks import lettered
from annotate.votes import scales

PROMPT = "I ordered a lamp last week. When does it come?"
REPLIES = (
    "Orders take three to five days. Tell me the number of yours, and I look where it is.",
    "It is on its way.",
)


@require_safe
def preview(request: AuthenticatedHttpRequest, slug: str) -> HttpResponse:
    """The screen by the fields of the form as they are typed; what is wrong in one is left out."""
    project = project_or_404(request, slug, "admin")
    return render(request, "annotate/settings_preview.html", previewed(_wanted(request, project)))


def previewed(project: Project) -> dict[str, Any]:
    """Context of the preview of a project, stored or not."""
    rows = [
        criteria.Row(name, "", active=n == 0, shown=n == 0)
        for n, name in enumerate(project.criteria)
    ]
    return {
        "project": project,
        "prompt": PROMPT,
        "replies": [
            {"letter": letter, "text": text} for letter, text in zip("AB", REPLIES, strict=True)
        ],
        "criteria": rows,
        "answers": criteria.answers(project.scale),
        "points": scales.points(project.scale),
        "both_bad": scales.both_bad(project.scale),
        "chips": lettered(project.reason_chips),
    }


def _wanted(request: HttpRequest, project: Project) -> Project:
    """The project as it would be, which is not stored."""
    sent = request.GET
    if sent.get("scale") in scales.SCALES:
        project.scale = sent["scale"]
    project.criteria = _lines(sent.get("criteria"), project.criteria)
    project.reason_chips = _lines(sent.get("reason_chips"), project.reason_chips)
    if "scale" in sent:  # The form as a whole: a box that is not ticked is not sent.
        project.criteria_required = "criteria_required" in sent
        project.allow_rewrites = "allow_rewrites" in sent
    return project


def _lines(typed: str | None, stored: list[str]) -> list[str]:
    if typed is None:
        return stored
    try:
        lines: list[str] = LinesField(required=False).clean(typed)
    except ValidationError:
        return stored
    return lines
