"""Import of a small file within one request, and what calls with files share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import (
    api_view,
    parser_classes,
    throttle_classes,
)
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.exceptions import TooLong
from annotate.api.import_bodies import ReportBody
from annotate.api.rate_limits import ImportThrottle
from annotate.api.serializers import ErrorBody
from annotate.importing import Report, Unreadable, import_rows
from annotate.importing.http_uploads import TooLarge, check_size, spooled
from annotate.importing.limits import MAX_REQUEST_UNPACKED
from annotate.people.permissions import project_or_404

NDJSON = "application/x-ndjson"
BAD = OpenApiResponse(ErrorBody, description="A parameter or the file is wrong.")
FOREIGN = OpenApiResponse(ErrorBody, description="There is no such project, or you are not in it.")
DENIED = OpenApiResponse(ErrorBody, description="Your role in the project is too low.")


class NDJSONRenderer(JSONRenderer):
    """Lets clients ask for lines of JSON; only errors are rendered, rows are streamed."""

    media_type = NDJSON
    format = "ndjson"


class RawFileParser(BaseParser):
    """The body is the file, whatever it calls itself."""

    media_type = "*/*"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            return {"file": spooled(stream)}
        except TooLarge as error:
            raise TooLong(str(error)) from error


class RefusedImport(ErrorBody, ReportBody):
    """A file of which nothing was imported, with the report where it was read."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        for name in ReportBody._declared_fields:
            fields[name].required = False
        return fields


@extend_schema(
    operation_id="import",
    request={
        NDJSON: OpenApiTypes.BINARY,
        "multipart/form-data": {
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
        },
    },
    parameters=[
        OpenApiParameter("dry_run", bool, description="Only report what would happen."),
        OpenApiParameter("strict", bool, description="Import nothing if any row is refused."),
    ],
    responses={200: ReportBody, 400: RefusedImport, 403: DENIED, 404: FOREIGN, 413: BAD},
)
@api_view(["POST"])
@parser_classes([MultiPartParser, RawFileParser])
@throttle_classes([ImportThrottle])
def import_file(request: Request, slug: str) -> Response:
    """Import prompts, completions, pairs and votes from a file of any format, packed or not."""
    project = project_or_404(request, slug, "admin")
    dry_run, strict = flag(request, "dry_run"), flag(request, "strict")
    file = request.data.get("file") if isinstance(request.data, dict) else None
    if file is None or not hasattr(file, "read"):
        raise ValidationError({"file": ["The file is missing."]})
    try:
        check_size(getattr(file, "size", None))
        report = import_rows(
            project, file, dry_run=dry_run, strict=strict, max_bytes=MAX_REQUEST_UNPACKED
        )
    except TooLarge as error:
        raise TooLong(str(error)) from error
    except Unreadable as error:
        raise ValidationError({"detail": str(error)}) from error
    return _report(report, dry_run=dry_run)


def _report(report: Report, *, dry_run: bool) -> Response:
    body = report.as_dict()
    if report.written or (dry_run and report.accepted):
        return Response(body)
    detail = f"{report.verdict} First: {report.refused[0]}."
    return Response({"detail": detail, **body}, status=status.HTTP_400_BAD_REQUEST)


def choice(request: Request, name: str, known: tuple[str, ...]) -> str | None:
    """A parameter of the address, one of `known`; None without it. Raises ValidationError."""
    value = request.query_params.get(name)
    if value is not None and value not in known:
        raise ValidationError({name: [f"Must be one of: {', '.join(known)}."]})
    return value


def flag(request: Request, name: str) -> bool:
    """A parameter that is yes or no. Raises ValidationError."""
    return choice(request, name, ("1", "0", "true", "false")) in ("1", "true")


urlpatterns = [
    path("api/v1/projects/<slug:slug>/import/", import_file, name="api-import"),
]
