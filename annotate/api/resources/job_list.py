"""Imports and exports of a project in one list."""

from __future__ import annotations

from itertools import islice
from operator import attrgetter
from typing import Any

from django.db.models import QuerySet
from django.urls import path, reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.pagination import ListQuery, NewestByTime, asked, listed, page_of
from annotate.api.resources.fields import ANSWERS, ROOT
from annotate.models import Import, Project
from annotate.models.job import Job
from annotate.people.permissions import project_or_404

KINDS = {"import": "api-import-one", "export": "api-export-one"}
"""Kinds of jobs, and the address of one of them."""


class JobBody(serializers.Serializer[Any]):
    """A job; `url` leads to all that is known of it. A held one waits for its owner."""

    id = serializers.UUIDField()
    kind = serializers.ChoiceField(choices=list(KINDS))
    url = serializers.CharField()
    state = serializers.ChoiceField(choices=Job.State.choices)
    done = serializers.IntegerField(help_text="Rows of an import, bytes of an export.")
    share = serializers.FloatField(help_text="Of the whole, 0 to 1, as far as known.")
    error = serializers.CharField(allow_blank=True, help_text="Why it failed, in words.")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


class JobQuery(ListQuery):
    kind = serializers.ChoiceField(choices=list(KINDS), required=False)
    state = serializers.ChoiceField(choices=Job.State.choices, required=False)


class Merged:
    """Rows of several tables in one order, read like a queryset: in slices."""

    def __init__(self, *querysets: QuerySet[Any]) -> None:
        self._querysets = querysets

    def filter(self, **conditions: Any) -> Merged:
        return Merged(*(rows.filter(**conditions) for rows in self._querysets))

    def order_by(self, column: str) -> Merged:
        return Merged(*(rows.order_by(column) for rows in self._querysets))

    def __getitem__(self, part: slice) -> list[Any]:
        # Each gives as many as the slice ends at: all of the first may be from one table.
        rows = [row for of_one in self._querysets for row in of_one[: part.stop]]
        falling = str(self._querysets[0].query.order_by[0]).startswith("-")
        rows.sort(key=attrgetter("created_at", "uuid"), reverse=falling)
        return list(islice(rows, part.start, part.stop))


@extend_schema(
    operation_id="jobs_list",
    tags=["jobs"],
    parameters=[JobQuery],
    responses={200: page_of(JobBody), **ANSWERS},
)
@api_view(["GET"])
def jobs(request: Request, slug: str) -> Response:
    """The project's imports and exports, newest first (admins)."""
    project = project_or_404(request, slug, "admin")
    filters = asked(request, JobQuery)
    kind = filters.pop("kind", None)
    tables: dict[str, QuerySet[Any]] = {
        "import": project.imports.defer("report"),  # which may be long
        "export": project.exports.all(),
    }
    chosen = [rows.filter(**filters) for name, rows in tables.items() if kind in (None, name)]
    rows: Any = Merged(*chosen)
    return listed(request, rows, lambda page: _bodies(project, page), by=NewestByTime)


def _bodies(project: Project, page: Any) -> list[dict[str, Any]]:
    shown = []
    for job in page:
        kind = "import" if isinstance(job, Import) else "export"
        columns = ("state", "done", "share", "error", "created_at", "finished_at")
        body = {column: getattr(job, column) for column in columns}
        url = reverse(KINDS[kind], args=[project.slug, job.uuid])
        shown.append({"id": job.uuid, "kind": kind, "url": url, **body})
    return list(JobBody(shown, many=True).data)


urlpatterns = [path(ROOT + "jobs/", jobs, name="api-jobs")]
