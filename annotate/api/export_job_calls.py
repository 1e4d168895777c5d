"""The calls of exports in the background: ask for one, watch it, download or cancel it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import FileResponse, Http404
from django.urls import path, reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view, renderer_classes, throttle_classes
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.direct_export_calls import LICENCE, AnyRenderer, version_named
from annotate.api.direct_import_calls import BAD, DENIED, FOREIGN
from annotate.api.exceptions import Conflict
from annotate.api.import_job_calls import CONFLICT, check_body, refusals
from annotate.api.pagination import BeforeQuery, asked_before, listed, page_of
from annotate.api.rate_limits import NewExportThrottle
from annotate.api.serializers import KnownFieldsOnly, StrictCharField, StrictIntegerField
from annotate.exporting import FORMATS, export_job
from annotate.exporting.compression import SUFFIXES
from annotate.exporting.export_files import Options
from annotate.exporting.formats.kto_sft_format import STYLES
from annotate.jobs import export_actions
from annotate.models import Export, Project
from annotate.models.job import Job
from annotate.people.permissions import project_or_404

ANSWERS = {403: DENIED, 404: FOREIGN}


class NewExport(KnownFieldsOnly):
    """An export in one file; with side files, and of a folder, that is a ZIP archive."""

    format = serializers.ChoiceField(choices=sorted(FORMATS))
    version = StrictIntegerField(
        required=False, min_value=1, help_text="Without it, the votes that stand now."
    )
    include_simulated = serializers.BooleanField(default=False)
    compression = serializers.ChoiceField(choices=list(SUFFIXES), default="none")
    style = serializers.ChoiceField(choices=STYLES, required=False)  # type: ignore[assignment]  # A field's own name in the stubs.
    licence = StrictCharField(required=False, max_length=LICENCE)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        chosen = FORMATS[attrs["format"]]
        unknown = {"style", "licence"} & attrs.keys() - chosen.options.keys()
        if unknown:
            raise serializers.ValidationError({min(unknown): "This format has no such option."})
        if chosen.files is not None and attrs["compression"] != "none":
            raise serializers.ValidationError({"compression": "A ZIP file is compressed as it is."})
        return attrs


class ExportBody(serializers.Serializer[Any]):
    """An export on its way into a file. `download` is there once it is done, for a week."""

    id = serializers.UUIDField()
    url = serializers.CharField()
    format = serializers.CharField()
    version = serializers.IntegerField()
    state = serializers.ChoiceField(choices=[(one.value, one.label) for one in Job.State])
    done = serializers.IntegerField(help_text="Bytes written.")
    share = serializers.FloatField(help_text="Of the file, 0 to 1, as far as known.")
    error = serializers.CharField(allow_blank=True, help_text="Why it failed, in words.")
    size = serializers.IntegerField(help_text="Bytes of the finished file.")
    sha256 = serializers.CharField(allow_blank=True)
    download = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


@extend_schema(
    operation_id="exports_list",
    methods=["GET"],
    parameters=[BeforeQuery],
    responses={200: page_of(ExportBody), 400: BAD, **ANSWERS},
)
@extend_schema(
    operation_id="exports_new",
    methods=["POST"],
    request=NewExport,
    responses={202: ExportBody, 400: BAD, **ANSWERS},
)
@api_view(["GET", "POST"])
@throttle_classes([NewExportThrottle])
def exports(request: Request, slug: str) -> Response:
    """The project's exports, newest first; or a new one, which is written in the background."""
    project = project_or_404(request, slug, "admin")
    if request.method == "GET":
        rows = asked_before(request, project.exports.select_related("version"))
        return listed(request, rows, lambda page: [_body(project, one) for one in page])
    form = NewExport(data=request.data)
    form.is_valid(raise_exception=True)
    said = dict(form.validated_data)
    format = said.pop("format")
    version = version_named(project, said.pop("version", None))
    options = Options(
        include_simulated=said.pop("include_simulated"),
        compression=said.pop("compression"),
        told=said,
    )
    with refusals(ValidationError):
        export = export_actions.begin(version, user_of(request), format, options)
    body = _body(project, export)
    headers = {"Location": str(body["url"])}
    return Response(body, status=status.HTTP_202_ACCEPTED, headers=headers)


@extend_schema(operation_id="exports_one", responses={200: ExportBody, **ANSWERS})
@api_view(["GET"])
def one(request: Request, slug: str, uuid: UUID) -> Response:
    """An export: how far it is, and where its file is."""
    project, export = _export_of(request, slug, uuid)
    return Response(_body(project, export))


@extend_schema(
    operation_id="exports_cancel",
    request=None,
    responses={202: ExportBody, 409: CONFLICT, **ANSWERS},
)
@api_view(["POST"])
def cancel(request: Request, slug: str, uuid: UUID) -> Response:
    """Stop an export; nothing is left of its file."""
    project, export = _export_of(request, slug, uuid)
    check_body(request)
    with refusals(Conflict):
        export_actions.cancel(export)
    return Response(_body(project, export), status=status.HTTP_202_ACCEPTED)


@extend_schema(
    operation_id="exports_download",
    responses={
        (200, "application/octet-stream"): OpenApiTypes.BINARY,
        403: DENIED,
        404: OpenApiResponse(description="It is not done, or its file is gone."),
    },
)
@api_view(["GET"])
@renderer_classes([JSONRenderer, AnyRenderer])
def download(request: Request, slug: str, uuid: UUID) -> FileResponse:
    """The file of a finished export."""
    _, export = _export_of(request, slug, uuid)
    return served(export)


def served(export: Export) -> FileResponse:
    """The file as an answer. Raises Http404."""
    path = export_job.file_of(export)
    if path is None:
        raise Http404("The export is not done, or its file is gone: ask for it again.")
    # Left to the name, the media type would be what the server's operating system knows of it.
    return FileResponse(
        path.open("rb"),
        as_attachment=True,
        filename=path.name,
        content_type="application/octet-stream",
    )


def _export_of(request: Request, slug: str, uuid: UUID) -> tuple[Project, Export]:
    project = project_or_404(request, slug, "admin")
    export = project.exports.select_related("version").filter(uuid=uuid).first()
    if export is None:
        raise Http404("There is no such export.")
    return project, export


def _body(project: Project, export: Export) -> dict[str, Any]:
    place = [project.slug, export.uuid]
    there = export_job.file_of(export) is not None
    return {
        "id": str(export.uuid),
        "url": reverse("api-export-one", args=place),
        "format": export.format,
        "version": export.version.number,
        "state": export.state,
        "done": export.done,
        "share": export.share,
        "error": export.error,
        "size": export.size,
        "sha256": export.sha256,
        "download": reverse("api-export-download", args=place) if there else None,
        "created_at": export.created_at,
        "finished_at": export.finished_at,
    }


_ROOT = "api/v1/projects/<slug:slug>/exports/"
urlpatterns = [
    path(_ROOT, exports, name="api-exports"),
    path(_ROOT + "<uuid:uuid>/", one, name="api-export-one"),
    path(_ROOT + "<uuid:uuid>/cancel/", cancel, name="api-export-cancel"),
    path(_ROOT + "<uuid:uuid>/download/", download, name="api-export-download"),
]
