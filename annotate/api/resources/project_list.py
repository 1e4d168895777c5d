"""The projects that a person is in."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, Subquery
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.direct_import_calls import BAD
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.models import ApiToken, Membership, Project
from annotate.models.roles import Role
from annotate.people.token_scopes import over_projects


class ProjectBody(serializers.ModelSerializer[Project]):
    role = serializers.SerializerMethodField()

    class Meta:
        model = Project
        fields = (
            *("slug", "name", "description", "role", "votes", "scale", "criteria"),
            *("guideline_version", "archived", "created_at"),
        )

    def get_role(self, project: Any) -> Role:
        """Yours; superusers are admins everywhere."""
        return Role(project.own_role or Role.ADMIN)


class ProjectQuery(ListQuery):
    archived = serializers.BooleanField(required=False)


@over_projects
@extend_schema(
    operation_id="projects_list",
    tags=["projects"],
    parameters=[ProjectQuery],
    responses={200: page_of(ProjectBody), 400: BAD},
)
@api_view(["GET"])
def projects(request: Request) -> Response:
    """The projects that you are in and your token reaches, with your role in each."""
    filters = asked(request, ProjectQuery)
    user = user_of(request)
    own = Membership.objects.filter(project=OuterRef("pk"), user=user).values("role")
    rows = Project.objects.for_user(user).filter(**filters)
    if isinstance(request.auth, ApiToken):
        rows = rows.filter(pk__in=request.auth.projects().values("pk"))
    if not user.is_superuser:
        rows = rows.annotate(own_role=Subquery(own))
    return listed(request, rows, _bodies)


def _bodies(page: Any) -> list[dict[str, Any]]:
    for project in page:
        project.own_role = getattr(project, "own_role", "")
    return list(ProjectBody(page, many=True).data)


urlpatterns = [path("api/v1/projects/", projects, name="api-projects")]
