"""REST: completions that servers or models write for a project's prompts."""

from __future__ import annotations

from dataclasses import asdict
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
from training.completions import token_usage_and_cost, writing_runs
from training.forms import WritingForm
from training.models import Run, RunKind

NEWEST = 50


class WriteSerializer(serializers.Serializer[Any]):
    """The wishes; those that are not given have the form's defaults."""

    # REST's fields have a source, too: the attribute they are read from.
    source = serializers.CharField(  # type: ignore[assignment]  # the name is in the API
        required=False, help_text="endpoint, or the name of a policy of the project."
    )
    url = serializers.CharField(required=False, help_text="Of the server, with its version.")
    model = serializers.CharField(required=False, help_text="Its name on that server.")
    other = serializers.CharField(required=False, help_text="As source: pairs are of the two.")
    other_url = serializers.CharField(required=False)
    other_model = serializers.CharField(required=False)
    prompts = serializers.ChoiceField(["unanswered", "all", "tag"], required=False)
    tag = serializers.CharField(required=False)
    most = serializers.IntegerField(required=False, min_value=1, help_text="Prompts.")
    per_prompt = serializers.IntegerField(required=False, min_value=1)
    temperature = serializers.FloatField(required=False, min_value=0)
    top_p = serializers.FloatField(required=False)
    max_new_tokens = serializers.IntegerField(required=False, min_value=1)
    concurrency = serializers.IntegerField(required=False, min_value=1)
    seed = serializers.IntegerField(required=False, min_value=0)
    price_in = serializers.FloatField(required=False, help_text="Of a million tokens.")
    price_out = serializers.FloatField(required=False, help_text="Of a million tokens.")


class UsageSerializer(serializers.Serializer[Any]):
    requests = serializers.IntegerField()
    failed = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    cost = serializers.FloatField(allow_null=True)


class WritingSerializer(serializers.Serializer[Any]):
    run = serializers.UUIDField()
    state = serializers.ChoiceField(Run.State.choices)
    error = serializers.CharField()
    done = serializers.IntegerField(help_text="Requests that were answered or refused.")
    total = serializers.IntegerField(help_text="Requests in all; 0 before it begins.")
    sources = serializers.ListField(child=serializers.CharField())
    prompts = serializers.IntegerField(help_text="Prompts that are done.")
    completions = serializers.IntegerField(help_text="New ones.")
    pairs = serializers.IntegerField(help_text="New ones in the queue.")
    known = serializers.IntegerField(help_text="Replies that the project had already.")
    equal = serializers.IntegerField(help_text="Replies that read like another one.")
    left_out = serializers.DictField(child=serializers.IntegerField())
    refused = serializers.DictField(
        child=serializers.IntegerField(), help_text="Requests that the server refused, by reason."
    )
    usage = UsageSerializer()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(
    methods=["GET"],
    operation_id="completions_runs",
    parameters=[PageQuery],
    responses={200: whole_or_page(WritingSerializer), 400: BAD_PAGE},
)
@extend_schema(
    methods=["POST"],
    operation_id="write_completions",
    request=WriteSerializer,
    responses={
        202: WritingSerializer,
        400: OpenApiResponse(description="A bad value, or a server that is not allowed."),
        409: OpenApiResponse(description="No prompt, or a run of the project is live already."),
    },
)
@api_view(["GET", "POST"])
def completions_runs(request: Request, slug: str) -> Response:
    """Runs that wrote completions, the latest first: 50 as a plain list, or a page. POST starts
    one (admins)."""
    project = exchange.project_or_404(request, slug, "admin")
    if request.method == "GET":
        page = page_if_asked(request, _runs(project), _writing)
        newest = _runs(project).order_by("-pk")[:NEWEST]
        return Response([_writing(run) for run in newest] if page is None else page)
    form = WritingForm(_given(project, request.data), project=project)
    if not form.is_valid():
        raise serializers.ValidationError(
            {name: list(map(str, said)) for name, said in form.errors.items()}
        )
    try:
        run = writing_runs.start(project, form.options())
    except writing_runs.Refused as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    return Response(_writing(run), status=status.HTTP_202_ACCEPTED)


@extend_schema(operation_id="completions_run", responses=WritingSerializer)
@api_view(["GET"])
def completions_run(request: Request, slug: str, uuid: UUID) -> Response:
    """One run: its progress, its cost, and what came of it."""
    return Response(_writing(_run(request, slug, uuid)))


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(operation_id="cancel_completions", request=None, responses=WritingSerializer)
@api_view(["POST"])
def cancel_completions(request: Request, slug: str, uuid: UUID) -> Response:
    """Stop a run; what was written stays."""
    run = _run(request, slug, uuid)
    serializers.Serializer(data=request.data).is_valid(raise_exception=True)
    writing_runs.cancel(run)
    run.refresh_from_db()
    return Response(_writing(run))


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(
    operation_id="go_on_with_completions", request=None, responses={202: WritingSerializer}
)
@api_view(["POST"])
def go_on_with_completions(request: Request, slug: str, uuid: UUID) -> Response:
    """Have a run that failed or was cancelled go on where it stopped."""
    run = _run(request, slug, uuid)
    serializers.Serializer(data=request.data).is_valid(raise_exception=True)
    try:
        writing_runs.go_on(run)
    except writing_runs.Refused as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    run.refresh_from_db()
    return Response(_writing(run), status=status.HTTP_202_ACCEPTED)


def _given(project: exchange.Project, data: Any) -> dict[str, Any]:
    given = WriteSerializer(data=data)
    given.is_valid(raise_exception=True)
    return WritingForm.by_names(project, given.validated_data)


def _runs(project: exchange.Project) -> Any:
    return Run.objects.filter(project=project, kind=RunKind.COMPLETIONS)


def _run(request: Request, slug: str, uuid: UUID) -> Run:
    run: Run = get_object_or_404(_runs(exchange.project_or_404(request, slug, "admin")), uuid=uuid)
    return run


def _writing(run: Run) -> dict[str, Any]:
    result = token_usage_and_cost.result(run)
    told = ("prompts", "completions", "pairs", "known", "equal", "left_out")
    data = {name: getattr(result, name) for name in told}
    data |= {name: getattr(run, name) for name in ("state", "error", "total", "created_at")}
    data |= {
        "run": run.uuid,
        "done": run.step,
        "sources": [source["name"] for source in run.options["sources"]],
        "refused": dict(result.reasons),
        "usage": asdict(token_usage_and_cost.usage(run)),
        "finished_at": run.finished_at,
    }
    return dict(WritingSerializer(data).data)
