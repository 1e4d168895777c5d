"""The calls of imports: send a file, see how it is read, start it, watch it, take it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.http import Http404, StreamingHttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import (
    api_view,
    parser_classes,
    renderer_classes,
    throttle_classes,
)
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.direct_import_calls import (
    BAD,
    DENIED,
    FOREIGN,
    NDJSON,
    NDJSONRenderer,
    RawFileParser,
)
from annotate.api.exceptions import Conflict, TooLong
from annotate.api.import_bodies import (
    PARTS_OF_DATASET,
    ImportBody,
    ImportChange,
    ImportSummary,
    NewImport,
    NewUpload,
    QueryOptions,
    UploadBody,
    import_body,
    import_summary,
    upload_body,
)
from annotate.api.json_parser import StrictJSONParser
from annotate.api.pagination import BeforeQuery, asked_before, listed, page_of
from annotate.api.rate_limits import ImportThrottle, NewImportThrottle
from annotate.api.serializers import ErrorBody
from annotate.importing.files.text_encodings import ENCODINGS
from annotate.importing.http_uploads import TooLarge, check_size
from annotate.jobs import datasets_by_name, import_actions, problem_file, upload_files
from annotate.jobs.upload_files import Refusal, WrongOffset
from annotate.models import Import, Project
from annotate.people.permissions import project_or_404

ANSWERS = {403: DENIED, 404: FOREIGN}
CONFLICT = OpenApiResponse(ErrorBody, description="It is not the time for that.")
NAME = OpenApiParameter("name", str, description="Of the file, when the body is the file.")
AUTO = OpenApiParameter("auto", bool, description="Start at once when nothing has to be asked.")
STRICT = OpenApiParameter("strict", bool, description="Import nothing if any row is refused.")
JUDGED = OpenApiParameter(
    "judged", str, enum=list(import_actions.JUDGED), description="What pairs with votes become."
)

PAIRS_BY = OpenApiParameter(
    "pairs_by", str, description="Rating by which replies to one prompt are compared."
)
ENCODING = OpenApiParameter(
    "encoding", str, enum=list(ENCODINGS), description="Of a text that is not UTF-8."
)


class PieceParser(RawFileParser):
    """Leaves the body unread: it is written to the disk as it comes."""

    def parse(self, stream: Any, *args: Any, **options: Any) -> dict[str, Any]:
        return {}


@extend_schema(
    operation_id="imports_list",
    methods=["GET"],
    parameters=[BeforeQuery],
    responses={200: page_of(ImportSummary), 400: BAD, **ANSWERS},
)
@extend_schema(
    operation_id="imports_new",
    methods=["POST"],
    request={
        "application/json": NewImport,
        "application/octet-stream": OpenApiTypes.BINARY,
        "multipart/form-data": {
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary"}},
        },
    },
    parameters=[NAME, AUTO, STRICT, JUDGED, PAIRS_BY, ENCODING],
    responses={202: ImportBody, 400: BAD, 409: CONFLICT, 413: BAD, **ANSWERS},
)
@api_view(["GET", "POST"])
@parser_classes([StrictJSONParser, MultiPartParser, RawFileParser])
@throttle_classes([NewImportThrottle])
def imports(request: Request, slug: str) -> Response:
    """The project's imports, newest first; or a new one, which is checked in the background."""
    project = project_or_404(request, slug, "admin")
    if request.method == "GET":
        rows = asked_before(request, project.imports.all())
        return listed(request, rows, lambda page: [import_summary(project, one) for one in page])
    with refusals(ValidationError):
        import_ = _new(request, project)
    body = import_body(project, import_)
    headers = {"Location": body["url"]}
    return Response(body, status=status.HTTP_202_ACCEPTED, headers=headers)


@extend_schema(
    operation_id="imports_one",
    methods=["GET"],
    request=None,
    responses={200: ImportBody, **ANSWERS},
)
@extend_schema(
    operation_id="imports_change",
    methods=["PATCH"],
    request=ImportChange,
    responses={200: ImportBody, 400: BAD, 409: CONFLICT, **ANSWERS},
)
@api_view(["GET", "PATCH"])
def one(request: Request, slug: str, uuid: UUID) -> Response:
    """An import: where it stands, how its file is read, what it would add and what it added."""
    project, import_ = _import_of(request, slug, uuid)
    if request.method == "PATCH":
        form = ImportChange(data=request.data)
        form.is_valid(raise_exception=True)
        with refusals(ValidationError):
            _change(import_, form.validated_data)
    return Response(import_body(project, import_))


@extend_schema(
    operation_id="imports_start",
    request=None,
    responses={202: ImportBody, 409: CONFLICT, **ANSWERS},
)
@api_view(["POST"])
def start(request: Request, slug: str, uuid: UUID) -> Response:
    """Have the rows of a checked file written."""
    return _act(request, slug, uuid, import_actions.begin)


@extend_schema(
    operation_id="imports_cancel",
    request=None,
    responses={202: ImportBody, 409: CONFLICT, **ANSWERS},
)
@api_view(["POST"])
def cancel(request: Request, slug: str, uuid: UUID) -> Response:
    """Stop an import between two batches; what was added stays and can be taken back."""
    return _act(request, slug, uuid, import_actions.cancel)


@extend_schema(
    operation_id="imports_undo",
    request=None,
    responses={202: ImportBody, 409: CONFLICT, **ANSWERS},
)
@api_view(["POST"])
def undo(request: Request, slug: str, uuid: UUID) -> Response:
    """Take back what an import added, while nobody has voted on it."""
    return _act(request, slug, uuid, import_actions.take_back)


@extend_schema(
    operation_id="imports_report",
    responses={
        (200, NDJSON): OpenApiResponse(
            OpenApiTypes.STR, description="One JSON object per refused row or warning."
        ),
        **ANSWERS,
    },
)
@api_view(["GET"])
@renderer_classes([JSONRenderer, NDJSONRenderer])
def report(request: Request, slug: str, uuid: UUID) -> StreamingHttpResponse:
    """Every problem of the file: kind, file, line, field, reason, value."""
    _, import_ = _import_of(request, slug, uuid)
    lines = upload_files.problems_path(import_)
    if not lines.exists():
        raise Http404("The file is not checked yet.")
    return StreamingHttpResponse(problem_file.as_lines(lines), content_type=NDJSON)


@extend_schema(
    operation_id="uploads_new",
    request=NewUpload,
    responses={201: UploadBody, 400: BAD, **ANSWERS},
)
@api_view(["POST"])
@throttle_classes([ImportThrottle])
def new_upload(request: Request, slug: str) -> Response:
    """Announce a file that is sent in pieces; POST it to imports/ once it is whole."""
    project = project_or_404(request, slug, "admin")
    form = NewUpload(data=request.data)
    form.is_valid(raise_exception=True)
    said = form.validated_data
    options = {"modified": said["modified"]} if "modified" in said else {}
    with refusals(ValidationError):
        import_ = import_actions.announce(
            project, user_of(request), said["name"], said["size"], options=options
        )
    return Response(upload_body(project, import_), status=status.HTTP_201_CREATED)


@extend_schema(
    operation_id="uploads_one",
    methods=["GET"],
    request=None,
    responses={200: UploadBody, **ANSWERS},
)
@extend_schema(
    operation_id="uploads_piece",
    methods=["PATCH"],
    parameters=[
        OpenApiParameter(
            "Upload-Offset",
            int,
            OpenApiParameter.HEADER,
            required=True,
            description="Where the piece begins: the `offset` of the last answer.",
        )
    ],
    request={"application/octet-stream": OpenApiTypes.BINARY},
    responses={200: UploadBody, 400: BAD, 409: CONFLICT, **ANSWERS},
)
@api_view(["GET", "PATCH"])
@parser_classes([PieceParser])
def upload(request: Request, slug: str, uuid: UUID) -> Response:
    """The part of a file that has arrived; PATCH adds the next piece behind it."""
    project, import_ = _import_of(request, slug, uuid)
    if import_actions.stage(import_) != "uploading":
        raise Http404("There is no such upload.")
    if request.method == "PATCH":
        with refusals(ValidationError):
            upload_files.add_piece(import_, _offset(request), request._request)
    return Response(upload_body(project, import_))


def check_body(request: Request) -> None:
    """Refuse a body that is broken, where none is asked for: reading it raises ParseError."""
    if not isinstance(request.data, dict):
        raise ValidationError({"detail": "The body is an object, or empty."})


@contextmanager
def refusals(answer: type[ValidationError | Conflict]) -> Iterator[None]:
    """Refusals as an answer of this kind; a piece at the wrong place is a conflict always."""
    try:
        yield
    except WrongOffset as refusal:
        raise Conflict({"detail": str(refusal), "offset": str(refusal.offset)}) from refusal
    except Refusal as refusal:
        raise answer({"detail": str(refusal)}) from refusal


def _import_of(request: Request, slug: str, uuid: UUID) -> tuple[Project, Import]:
    project = project_or_404(request, slug, "admin")
    import_ = project.imports.filter(uuid=uuid).first()
    if import_ is None:
        raise Http404("The project has no such import.")
    return project, import_


def _act(request: Request, slug: str, uuid: UUID, action: Any) -> Response:
    project, import_ = _import_of(request, slug, uuid)
    check_body(request)
    with refusals(Conflict):
        action(import_)
    import_.refresh_from_db()
    return Response(import_body(project, import_), status=status.HTTP_202_ACCEPTED)


def _new(request: Request, project: Project) -> Import:
    by = user_of(request)
    file = request.data.get("file") if isinstance(request.data, dict) else None
    if file is not None and hasattr(file, "read"):
        try:
            check_size(getattr(file, "size", None))
        except TooLarge as error:
            raise TooLong(str(error)) from error
        name = request.query_params.get("name") or getattr(file, "name", None) or "file"
        options = _options(request)
        return import_actions.receive(project, by, file, str(name), options=options)
    form = NewImport(data=request.data)
    form.is_valid(raise_exception=True)
    said = dict(form.validated_data)
    upload_id, server_file = said.pop("upload", None), said.pop("server_file", "")
    parts = {name: said.pop(name, "") for name in PARTS_OF_DATASET}
    if name := said.pop("dataset", ""):
        dataset = datasets_by_name.named(name, **parts)
        return import_actions.take_dataset(project, by, dataset, options=said)
    if server_file:
        return import_actions.take_from_server(project, by, server_file, options=said)
    import_ = project.imports.filter(uuid=upload_id).first()
    if import_ is None or import_actions.stage(import_) != "uploading":
        raise Refusal("There is no such upload.")
    import_actions.complete(import_, said)
    return import_


def _options(request: Request) -> dict[str, Any]:
    """The options of the query string."""
    given = {
        name: request.query_params[name]
        for name in ("judged", "strict", "pairs_by", "encoding", "auto")
        if name in request.query_params
    }
    form = QueryOptions(data=given)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


def _change(import_: Import, said: dict[str, Any]) -> None:
    options = {name: said[name] for name in ("judged", "strict") if name in said}
    if options:
        import_actions.choose_options(import_, **options)
    if {"mapping", "answers", "pairs_by", "encoding"} & said.keys():
        answers = {(one["column"], one["field"]): one["yes"] for one in said.get("answers", ())}
        mapping = said.get("mapping", import_.mapping)
        mapping = import_actions.with_answers(import_, mapping, answers)
        told = {name: said.get(name) for name in ("pairs_by", "encoding")}
        import_actions.map_columns(import_, mapping, **told)


def _offset(request: Request) -> int:
    given = request.headers.get("Upload-Offset", "")
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise ValidationError({"Upload-Offset": ["The header must be a whole number."]})
    return int(given)


IMPORTS = "api/v1/projects/<slug:slug>/imports/"
urlpatterns = [
    path(IMPORTS, imports, name="api-imports"),
    path(IMPORTS + "<uuid:uuid>/", one, name="api-import-one"),
    path(IMPORTS + "<uuid:uuid>/start/", start, name="api-import-start"),
    path(IMPORTS + "<uuid:uuid>/cancel/", cancel, name="api-import-cancel"),
    path(IMPORTS + "<uuid:uuid>/undo/", undo, name="api-import-undo"),
    path(IMPORTS + "<uuid:uuid>/report/", report, name="api-import-report"),
    path("api/v1/projects/<slug:slug>/uploads/", new_upload, name="api-uploads"),
    path("api/v1/projects/<slug:slug>/uploads/<uuid:uuid>/", upload, name="api-upload"),
]
