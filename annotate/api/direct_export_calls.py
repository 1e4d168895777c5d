"""The export call: a dataset version as a stream, in any format."""

from __future__ import annotations

from itertools import chain
from typing import Any

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.decorators import api_view, renderer_classes, throttle_classes
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from annotate.api.direct_import_calls import (
    BAD,
    DENIED,
    FOREIGN,
    NDJSON,
    NDJSONRenderer,
    choice,
    flag,
)
from annotate.api.rate_limits import ExportThrottle
from annotate.exporting import FORMATS, ExportFormat, UnknownFormat, format_named, freezing
from annotate.exporting.compression import SUFFIXES
from annotate.exporting.export_files import Options, pieces
from annotate.exporting.export_names import MEDIA, ending, file_name
from annotate.exporting.formats.kto_sft_format import STYLES
from annotate.models import DatasetVersion, Project
from annotate.people.permissions import project_or_404

LICENCE = 60
"""Characters of the longest licence identifier."""
PARTS = "; ".join(f"{name}: {', '.join(one.parts)}" for name, one in FORMATS.items())


class AnyRenderer(NDJSONRenderer):
    """Whatever a client accepts, it gets the format that it asked for."""

    media_type = "*/*"
    format = "any"


@extend_schema(
    operation_id="export",
    parameters=[
        OpenApiParameter("format", str, required=True, enum=sorted(FORMATS)),
        OpenApiParameter("version", int, description="Without it, the votes that stand now."),
        OpenApiParameter("include_simulated", bool),
        OpenApiParameter("part", str, description=f"The first, or one beside it. {PARTS}."),
        OpenApiParameter("compression", str, enum=list(SUFFIXES)),
        OpenApiParameter("style", str, enum=list(STYLES), description="Of kto, sft and ranked."),
        OpenApiParameter("licence", str, description="That the card of hf states: cc-by-4.0."),
    ],
    responses={
        (200, NDJSON): OpenApiResponse(
            OpenApiTypes.STR,
            description="One JSON object per line; counts are in the X-Pairloop-* headers.",
        ),
        (200, "text/csv"): OpenApiTypes.STR,
        (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY,
        (200, "application/zip"): OpenApiTypes.BINARY,
        204: OpenApiResponse(description="The part beside the first has no rows."),
        400: BAD,
        403: DENIED,
        404: FOREIGN,
    },
)
@api_view(["GET"])
@renderer_classes([JSONRenderer, NDJSONRenderer, AnyRenderer])
@throttle_classes([ExportThrottle])
def export(request: Request, slug: str) -> HttpResponseBase:
    """Stream a dataset version. The same version gives the same bytes for ever.

    But for `project`, which is the whole project as it is now and takes the newest version alone.
    """
    project = project_or_404(request, slug, "admin")
    chosen = format_asked(request.query_params.get("format", ""))
    part = choice(request, "part", tuple(chosen.parts)) or chosen.main_part
    options = options_asked(request, chosen)
    version = version_asked(request, project)
    if refusal := chosen.refusal(version):
        raise ValidationError({"version": [refusal]})
    parts = pieces(version, chosen, part, options)
    first = next(parts, None)
    response: HttpResponseBase
    if first is None and part != chosen.main_part:
        response = HttpResponse(status=204)
    else:
        response = StreamingHttpResponse(
            chain([first or b""], parts), content_type=MEDIA[chosen.suffix]
        )
        name = file_name(version, part, ending(chosen, options.compression))
        response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Pairloop-Version"] = str(version.number)
    # Counted beforehand: a streamed answer can say nothing after its last row.
    counts = chosen.counted(version, include_simulated=options.include_simulated)
    for name, count in counts.items():
        response[f"X-Pairloop-{name.replace('_', '-').title()}"] = str(count)
    return response


def format_asked(name: str) -> ExportFormat:
    """The format of that name. Raises ValidationError."""
    try:
        return format_named(name)
    except UnknownFormat as error:
        raise ValidationError({"detail": str(error)}) from error


def options_asked(request: Request, chosen: ExportFormat) -> Options:
    """The options of the address. Raises ValidationError."""
    told: dict[str, Any] = {
        "style": choice(request, "style", STYLES),
        "licence": request.query_params.get("licence"),
    }
    told = {name: value for name, value in told.items() if value}
    for name in told:
        if name not in chosen.options:
            raise ValidationError({name: ["This format has no such option."]})
    if len(told.get("licence", "")) > LICENCE or not told.get("licence", "").isprintable():
        raise ValidationError({"licence": [f"At most {LICENCE} characters of one line."]})
    compression = choice(request, "compression", tuple(SUFFIXES)) or "none"
    if chosen.files is not None and compression != "none":
        raise ValidationError({"compression": ["A ZIP file is compressed as it is."]})
    simulated = flag(request, "include_simulated")
    return Options(include_simulated=simulated, compression=compression, told=told)


def version_asked(request: Request, project: Project) -> DatasetVersion:
    """The version of the address, or without one the votes that stand now. Raises
    ValidationError."""
    given = request.query_params.get("version")
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 9):
        raise ValidationError({"version": ["Must be a whole number."]})
    return version_named(project, int(given) if given else None)


def version_named(project: Project, number: int | None) -> DatasetVersion:
    """The numbered version, or without a number the votes that stand now. Raises
    ValidationError."""
    try:
        return freezing.version_or_live(project, number)
    except DatasetVersion.DoesNotExist:
        detail = f"The project has no dataset version {number}."
        raise ValidationError({"version": [detail]}) from None


urlpatterns = [path("api/v1/projects/<slug:slug>/export/", export, name="api-export")]
