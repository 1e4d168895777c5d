"""Guidelines: every version of them, and the next one."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.exceptions import Conflict
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.resources.fields import ANSWERS, CONFLICT, ROOT
from annotate.api.serializers import KnownFieldsOnly, StrictCharField, StrictIntegerField
from annotate.forms.project_forms import MAX_GUIDELINES
from annotate.models import Guideline, Project, TokenScope
from annotate.models.roles import Role
from annotate.people import guidelines
from annotate.people.permissions import project_or_404
from annotate.people.token_scopes import needs_scope


class GuidelineBody(serializers.ModelSerializer[Guideline]):
    author = serializers.CharField(allow_null=True, help_text="For reviewers and admins.")

    class Meta:
        model = Guideline
        fields = ("version", "text", "author", "created_at")


class NewGuidelines(KnownFieldsOnly):
    text = StrictCharField(allow_blank=True, max_length=MAX_GUIDELINES, trim_whitespace=False)
    based_on = StrictIntegerField(
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        help_text="The version that you changed: refused where somebody else was faster.",
    )

    def validate_text(self, text: str) -> str:
        if len(text.encode()) > MAX_GUIDELINES:
            raise serializers.ValidationError("Guidelines may have 100 kB at most.")
        return text


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="guidelines_list",
    tags=["guidelines"],
    methods=["GET"],
    parameters=[ListQuery],
    responses={200: page_of(GuidelineBody), **ANSWERS},
)
@extend_schema(
    operation_id="guidelines_new",
    tags=["guidelines"],
    methods=["POST"],
    request=NewGuidelines,
    responses={201: GuidelineBody, 409: CONFLICT, **ANSWERS},
)
@api_view(["GET", "POST"])
def revisions(request: Request, slug: str) -> Response:
    """The versions of the guidelines, the one in force first; or the next one (admins)."""
    if request.method == "POST":
        return _revise(request, project_or_404(request, slug, "admin"))
    project = project_or_404(request, slug)
    asked(request, ListQuery)
    rows = project.guideline_history.select_related("author")
    answer = listed(request, rows, lambda page: _bodies(project, page))
    if not rows.exists():
        # Written when the project was made and never since: kept with the project alone.
        first = Guideline(
            version=project.guideline_version,
            text=project.guidelines,
            created_at=project.created_at,
        )
        answer.data["results"] = _bodies(project, [first])
    return answer


def _revise(request: Request, project: Project) -> Response:
    form = NewGuidelines(data=request.data)
    form.is_valid(raise_exception=True)
    based_on = form.validated_data.get("based_on", project.guideline_version)
    if based_on != project.guideline_version:
        raise Conflict(f"Version {project.guideline_version} is in force: look at it first.")
    number = guidelines.revise(project, form.validated_data["text"], author=user_of(request))
    saved = project.guideline_history.select_related("author").get(version=number)
    return Response(_bodies(project, [saved])[0], status=status.HTTP_201_CREATED)


def _bodies(project: Project, page: Any) -> list[dict[str, Any]]:
    named = project.role in Role.at_least(Role.REVIEWER)
    return [
        {
            "version": one.version,
            "text": one.text,
            "author": one.author.username if named and one.author else None,
            "created_at": one.created_at,
        }
        for one in page
    ]


urlpatterns = [path(ROOT + "guidelines/", revisions, name="api-guidelines")]
