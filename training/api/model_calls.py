"""REST: model versions with their lineage, and models from elsewhere that are checked and added."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import exchange
from training.api.list_pages import BAD_PAGE, PageQuery, page_if_asked, whole_or_page
from training.models import ModelVersion, Run
from training.setup import start_model_check
from training.setup.model_form import KINDS, AddModelForm
from training.versions import added_models


class GateSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    bound = serializers.CharField()
    passed = serializers.BooleanField()
    text = serializers.CharField()


class ModelSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    kind = serializers.ChoiceField(KINDS)
    state = serializers.ChoiceField(ModelVersion.State.choices)
    # REST's fields have a parent, too: the serializer they belong to.
    parent = serializers.CharField(  # type: ignore[assignment]  # the name is in the API
        allow_null=True, help_text="The version it was trained from."
    )
    round = serializers.IntegerField(allow_null=True)
    run = serializers.UUIDField(allow_null=True)
    dataset_version = serializers.IntegerField(allow_null=True)
    path = serializers.CharField(help_text="Relative to PAIRLOOP_HOME, or a hub id.")
    metrics = serializers.DictField()
    gates = GateSerializer(many=True)
    note = serializers.CharField()
    created_at = serializers.DateTimeField()
    promoted_at = serializers.DateTimeField(allow_null=True)


class AddModelSerializer(serializers.Serializer[Any]):
    """One of hub, folder and url says where the model is."""

    hub = serializers.CharField(required=False, help_text="OWNER/NAME on the hub.")
    revision = serializers.CharField(required=False, help_text="Branch, tag or commit of the hub.")
    folder = serializers.CharField(required=False, help_text="Below PAIRLOOP_MODEL_ROOTS.")
    url = serializers.CharField(required=False, help_text="Of a server, with its version.")
    model = serializers.CharField(required=False, help_text="Its name on that server.")
    make = serializers.ChoiceField(
        [added_models.STARTER, added_models.CANDIDATE],
        required=False,
        help_text="Default: the starter where the project has none.",
    )
    kind = serializers.CharField(
        required=False, help_text="policy or reward; default: as its files say."
    )
    note = serializers.CharField(required=False)


class CheckSerializer(serializers.Serializer[Any]):
    check = serializers.UUIDField()
    state = serializers.ChoiceField(Run.State.choices)
    error = serializers.CharField(help_text="Why it cannot be used.")
    step = serializers.IntegerField(help_text="Of 100.")
    message = serializers.CharField(help_text="What is being done.")
    of = serializers.CharField(help_text="The folder, hub id or server.")
    make = serializers.CharField()
    model = serializers.CharField(allow_null=True, help_text="The version it became.")
    report = serializers.DictField(
        help_text="What was seen: parameters, context, licence, memory (GiB), replies and others."
    )
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


@extend_schema(
    methods=["GET"],
    operation_id="models",
    parameters=[PageQuery],
    responses={200: whole_or_page(ModelSerializer), 400: BAD_PAGE},
)
@extend_schema(
    methods=["POST"],
    operation_id="add_model",
    request=AddModelSerializer,
    responses={
        202: CheckSerializer,
        400: OpenApiResponse(description="A bad value, or a place that is not offered."),
        409: OpenApiResponse(description="It is known, or another model is being checked."),
    },
)
@exchange.needs_scope(exchange.TokenScope.ADMIN)
@api_view(["GET", "POST"])
def models(request: Request, slug: str) -> Response:
    """Model versions with their lineage, the latest first: all as a plain list, or a page.

    POST has a worker check a model and add it (admins).
    """
    if request.method == "POST":
        return _add(request, slug)
    project = exchange.project_or_404(request, slug, "reviewer")
    versions = ModelVersion.objects.filter(project=project).select_related("parent", "run__round")
    page = page_if_asked(request, versions, _model)
    whole = versions.order_by("-number", "kind")
    return Response([_model(version) for version in whole] if page is None else page)


def _add(request: Request, slug: str) -> Response:
    project = exchange.project_or_404(request, slug, "admin")
    given = AddModelSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    form = AddModelForm.of(project, given.validated_data)
    if not form.is_valid():
        said = {name: list(map(str, errors)) for name, errors in form.errors.items()}
        if "place" in said:
            said = {"non_field_errors": ["Give one of hub, folder and url."]}
        raise serializers.ValidationError(said)
    try:
        run = form.start()
    except (start_model_check.Refused, added_models.Known) as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    return Response(_check(run), status=status.HTTP_202_ACCEPTED)


@extend_schema(methods=["GET"], operation_id="model_check", responses=CheckSerializer)
@extend_schema(
    methods=["DELETE"],
    operation_id="remove_model_check",
    responses={204: None, 409: OpenApiResponse(description="It is under way.")},
)
@exchange.needs_scope(exchange.TokenScope.ADMIN)
@api_view(["GET", "DELETE"])
def model_check(request: Request, slug: str, uuid: UUID) -> Response:
    """The check of a model: its progress, and what it saw. DELETE forgets it once it has ended."""
    run = _run(request, slug, uuid)
    if request.method == "GET":
        return Response(_check(run))
    try:
        start_model_check.remove(run)
    except start_model_check.Refused as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    return Response(status=status.HTTP_204_NO_CONTENT)


@extend_schema(
    operation_id="cancel_model_check",
    request=None,
    responses={200: CheckSerializer, 400: OpenApiResponse(description="A body with fields.")},
)
@exchange.needs_scope(exchange.TokenScope.ADMIN)
@api_view(["POST"])
def cancel_model_check(request: Request, slug: str, uuid: UUID) -> Response:
    """Stop a check; nothing is added."""
    run = _run(request, slug, uuid)
    serializers.Serializer(data=request.data).is_valid(raise_exception=True)
    start_model_check.cancel(run)
    run.refresh_from_db()
    return Response(_check(run))


@extend_schema(
    operation_id="retry_model_check",
    request=None,
    responses={
        202: CheckSerializer,
        400: OpenApiResponse(description="A body with fields."),
        409: OpenApiResponse(description="It is under way or done, or another one is."),
    },
)
@exchange.needs_scope(exchange.TokenScope.ADMIN)
@api_view(["POST"])
def retry_model_check(request: Request, slug: str, uuid: UUID) -> Response:
    """Try again what failed or was cancelled; what was fetched of a hub is kept."""
    run = _run(request, slug, uuid)
    serializers.Serializer(data=request.data).is_valid(raise_exception=True)
    try:
        start_model_check.go_on(run)
    except start_model_check.Refused as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    run.refresh_from_db()
    return Response(_check(run), status=status.HTTP_202_ACCEPTED)


def _run(request: Request, slug: str, uuid: UUID) -> Run:
    project = exchange.project_or_404(request, slug, "admin")
    return get_object_or_404(added_models.checks(project), uuid=uuid)


def _check(run: Run) -> dict[str, Any]:
    version = ModelVersion.objects.filter(pk=run.options.get("version")).first()
    names = ("state", "error", "step", "message", "created_at", "finished_at")
    data = {name: getattr(run, name) for name in names}
    data |= {"check": run.uuid, "of": run.options["from"], "make": run.options["make"]}
    data |= {
        "model": version.name if version else None,
        "report": run.options.get("report", {}),
    }
    return dict(CheckSerializer(data).data)


def _model(version: ModelVersion) -> dict[str, Any]:
    run = version.run
    fields = ("name", "kind", "state", "dataset_version", "path", "metrics", "gates", "note")
    data = {field: getattr(version, field) for field in (*fields, "created_at", "promoted_at")}
    data["parent"] = version.parent.name if version.parent else None
    data["run"] = run.uuid if run else None
    data["round"] = run.round.number if run and run.round else None
    return dict(ModelSerializer(data).data)
