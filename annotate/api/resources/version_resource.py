"""Dataset versions: which there are, and freezing the votes that stand now."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.import_job_calls import check_body
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.rate_limits import NewExportThrottle
from annotate.api.resources.fields import ANSWERS, ROOT
from annotate.exporting.freezing import freeze
from annotate.models import DatasetVersion
from annotate.people.permissions import project_or_404


class VersionBody(serializers.ModelSerializer[DatasetVersion]):
    """A snapshot of the project's votes. Its hash is that of its votes, simulated ones included."""

    adjudications = serializers.SerializerMethodField()
    created_by = serializers.CharField(
        source="created_by.username", default=None, allow_null=True, read_only=True
    )

    class Meta:
        model = DatasetVersion
        fields = (
            *("number", "sha256", "n_pairs", "n_votes", "n_simulated", "adjudications"),
            *("created_by", "created_at"),
        )

    def get_adjudications(self, version: DatasetVersion) -> int:
        """Reviewers' decisions that stood."""
        return len(version.decisions)


@extend_schema(
    operation_id="versions_list",
    tags=["versions"],
    methods=["GET"],
    parameters=[ListQuery],
    responses={200: page_of(VersionBody), **ANSWERS},
)
@extend_schema(
    operation_id="versions_new",
    tags=["versions"],
    methods=["POST"],
    request=None,
    responses={
        200: OpenApiResponse(VersionBody, description="Nothing has changed since this version."),
        201: VersionBody,
        **ANSWERS,
    },
)
@api_view(["GET", "POST"])
@throttle_classes([NewExportThrottle])
def versions(request: Request, slug: str) -> Response:
    """The dataset versions, newest first; or a new one of the votes that stand now (admins)."""
    project = project_or_404(request, slug, "admin")
    if request.method == "GET":
        asked(request, ListQuery)
        rows = project.dataset_versions.select_related("created_by").defer("people")
        return listed(request, rows, lambda page: list(VersionBody(page, many=True).data))
    check_body(request)
    there = set(project.dataset_versions.values_list("number", flat=True))
    version = freeze(project, by=user_of(request))
    code = status.HTTP_200_OK if version.number in there else status.HTTP_201_CREATED
    return Response(VersionBody(version).data, status=code)


@extend_schema(
    operation_id="versions_one", tags=["versions"], responses={200: VersionBody, **ANSWERS}
)
@api_view(["GET"])
def version(request: Request, slug: str, number: int) -> Response:
    """One dataset version (admins)."""
    project = project_or_404(request, slug, "admin")
    rows = project.dataset_versions.select_related("created_by")
    body: Any = VersionBody(get_object_or_404(rows, number=number)).data
    return Response(body)


urlpatterns = [
    path(ROOT + "versions/", versions, name="api-versions"),
    path(ROOT + "versions/<int:number>/", version, name="api-version"),
]
