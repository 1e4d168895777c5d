"""REST: AI annotators, their runs and their agreement with people."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import exchange
from annotate.exchange import AiAnnotator
from training.ai_annotators import ai_voting
from training.ai_annotators.ai_annotator_form import AiAnnotatorForm, BoundsForm, StartForm
from training.api.list_pages import BAD_PAGE, PageQuery, page_if_asked, whole_or_page
from training.models import Run
from training.versions.provenance import eligible_models


class NewAiAnnotatorSerializer(serializers.Serializer[Any]):
    """A model and its bounds; those that are not given have the form's defaults."""

    name = serializers.CharField(max_length=80)
    kind = serializers.ChoiceField(AiAnnotator.Kind.choices)
    project = serializers.SlugField(required=False, help_text="Of the reward model.")
    version = serializers.CharField(required=False, help_text="Its name there, such as reward-2.")
    url = serializers.CharField(required=False, help_text="Of the server, with its version.")
    model = serializers.CharField(required=False, help_text="Its name on that server.")
    constitution = serializers.CharField(required=False)
    longest = serializers.IntegerField(required=False, min_value=1, help_text="Answer, tokens.")
    per_minute = serializers.IntegerField(required=False, min_value=1)
    most_requests = serializers.IntegerField(required=False, min_value=2)
    most_tokens = serializers.IntegerField(required=False, min_value=1)


class AiBoundsSerializer(serializers.Serializer[Any]):
    """Bounds to change, from the next start on; retired: true takes the annotator out for good."""

    per_minute = serializers.IntegerField(required=False, min_value=1)
    most_requests = serializers.IntegerField(required=False, min_value=2)
    most_tokens = serializers.IntegerField(required=False, min_value=1)
    retired = serializers.BooleanField(required=False)


class AiStartSerializer(serializers.Serializer[Any]):
    pairs = serializers.IntegerField(default=500, min_value=1, help_text="To vote on, at most.")


class AgreementWithPeopleSerializer(serializers.Serializer[Any]):
    pairs = serializers.IntegerField(help_text="On which both named a better reply.")
    same = serializers.IntegerField()
    rate = serializers.FloatField(allow_null=True)
    ci95 = serializers.ListField(child=serializers.FloatField(), allow_null=True)


class OnTagSerializer(AgreementWithPeopleSerializer):
    tag = serializers.CharField()
    wrong = serializers.BooleanField(help_text="Significantly below that on other tags.")


class AiRunSerializer(serializers.Serializer[Any]):
    run = serializers.UUIDField()
    state = serializers.ChoiceField(Run.State.choices)
    error = serializers.CharField()
    done = serializers.IntegerField(help_text="Pairs.")
    total = serializers.IntegerField()
    bounded = serializers.BooleanField(help_text="A bound left pairs unasked.")


class AiAnnotatorSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(AiAnnotator.Kind.choices)
    model = serializers.CharField()
    url = serializers.CharField(allow_null=True)
    constitution = serializers.CharField()
    retired = serializers.BooleanField()
    per_minute = serializers.IntegerField()
    most_requests = serializers.IntegerField(allow_null=True)
    most_tokens = serializers.IntegerField(allow_null=True)
    requests = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    votes = serializers.DictField(child=serializers.IntegerField(), help_text="By their choice.")
    swayed = serializers.IntegerField(help_text="Ties because the orders named two replies.")
    agreement = AgreementWithPeopleSerializer(help_text="On pairs that people had at random.")
    trust = serializers.FloatField(help_text="2 r - 1 of its agreement r; 0 while unmeasured.")
    tags = OnTagSerializer(many=True)
    run = AiRunSerializer(allow_null=True)
    created_at = serializers.DateTimeField()


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(
    methods=["GET"],
    operation_id="ai_annotators",
    parameters=[PageQuery],
    responses={200: whole_or_page(AiAnnotatorSerializer), 400: BAD_PAGE},
)
@extend_schema(
    methods=["POST"],
    operation_id="add_ai_annotator",
    request=NewAiAnnotatorSerializer,
    responses={
        201: AiAnnotatorSerializer,
        400: OpenApiResponse(description="A bad value, or a model that may not vote here."),
    },
)
@api_view(["GET", "POST"])
def ai_annotators(request: Request, slug: str) -> Response:
    """AI annotators with their figures (reviewers), a plain list or a page. POST adds one, which
    votes once it is started (admins)."""
    role = "admin" if request.method == "POST" else "reviewer"
    project = exchange.project_or_404(request, slug, role)
    if request.method == "GET":
        rows = project.ai_annotators.all()
        page = page_if_asked(request, rows, _told)
        return Response([_told(one) for one in rows] if page is None else page)
    given = NewAiAnnotatorSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    assert isinstance(request.user, User), "only who signed in has a role"
    versions = eligible_models.offered(request.user)
    form = AiAnnotatorForm(
        AiAnnotatorForm.DEFAULTS | _by_names(versions, given.validated_data),
        project=project,
        versions=versions,
    )
    made = form.create(request.user) if form.is_valid() else None
    if made is None:
        raise serializers.ValidationError(
            {name: list(map(str, said)) for name, said in form.errors.items()}
        )
    return Response(_told(made), status=status.HTTP_201_CREATED)


def _by_names(versions: list[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Values of the form, in which a version has its number."""
    named = (given.pop("project", ""), given.pop("version", ""))
    pks = [str(one.pk) for one in versions if (one.project.slug, one.name) == named]
    if any(named) and not pks:
        raise serializers.ValidationError({"version": ["There is no such reward model."]})
    return given | ({"version": pks[0]} if pks else {})


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(methods=["GET"], operation_id="ai_annotator", responses=AiAnnotatorSerializer)
@extend_schema(
    methods=["PATCH"],
    operation_id="change_ai_annotator",
    request=AiBoundsSerializer,
    responses=AiAnnotatorSerializer,
)
@api_view(["GET", "PATCH"])
def ai_annotator(request: Request, slug: str, ai_annotator_id: int) -> Response:
    """One annotator with its figures (reviewers). PATCH changes its bounds, or retires it
    (admins)."""
    role = "admin" if request.method == "PATCH" else "reviewer"
    annotator = _annotator(request, slug, ai_annotator_id, role)
    if request.method == "PATCH":
        given = AiBoundsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        _change(annotator, dict(given.validated_data))
        annotator.refresh_from_db()
    return Response(_told(annotator))


def _change(annotator: AiAnnotator, wishes: dict[str, Any]) -> None:
    retired = wishes.pop("retired", False)
    if wishes:
        _set_bounds(annotator, wishes)
    if retired:  # last: a wrong bound changes nothing, and this is for good
        ai_voting.retire(annotator)


def _set_bounds(annotator: AiAnnotator, wishes: dict[str, Any]) -> None:
    form = BoundsForm({name: getattr(annotator, name) for name in BoundsForm.BOUNDS} | wishes)
    form.is_valid()
    wrong = {name: list(map(str, said)) for name, said in form.errors.items() if name in wishes}
    if wrong:
        raise serializers.ValidationError(wrong)
    ai_voting.set_bounds(annotator, **{name: form.cleaned_data[name] for name in wishes})


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(
    operation_id="start_ai_annotator",
    request=AiStartSerializer,
    responses={
        202: AiAnnotatorSerializer,
        409: OpenApiResponse(description="It may not vote, or has nothing left to vote on."),
    },
)
@api_view(["POST"])
def start_ai_annotator(request: Request, slug: str, ai_annotator_id: int) -> Response:
    """Have it vote on pairs that it has not voted on."""
    annotator = _annotator(request, slug, ai_annotator_id, "admin")
    given = AiStartSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    form = StartForm({"most": given.validated_data["pairs"]})
    if not form.is_valid():
        raise serializers.ValidationError({"pairs": list(map(str, form.errors["most"]))})
    try:
        ai_voting.start(annotator, most=form.cleaned_data["most"])
    except ai_voting.Refused as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    return Response(_told(annotator), status=status.HTTP_202_ACCEPTED)


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(operation_id="stop_ai_annotator", request=None, responses=AiAnnotatorSerializer)
@api_view(["POST"])
def stop_ai_annotator(request: Request, slug: str, ai_annotator_id: int) -> Response:
    """Stop its run; its votes stay."""
    annotator = _annotator(request, slug, ai_annotator_id, "admin")
    serializers.Serializer(data=request.data).is_valid(raise_exception=True)
    ai_voting.stop(annotator)
    return Response(_told(annotator))


def _annotator(request: Request, slug: str, pk: int, role: str) -> AiAnnotator:
    project = exchange.project_or_404(request, slug, role)
    return get_object_or_404(AiAnnotator, project=project, pk=pk)


def _told(annotator: AiAnnotator) -> dict[str, Any]:
    figures, usage = exchange.ai_figures(annotator), ai_voting.usage(annotator)
    bounds = {name: getattr(annotator, name) for name in BoundsForm.BOUNDS}
    spent = {name: getattr(usage, name) for name in ("requests", "tokens_in", "tokens_out")}
    told = ("id", "name", "kind", "model", "constitution", "created_at")
    data = {name: getattr(annotator, name) for name in told} | bounds | spent
    data |= {
        "url": annotator.source.get("url"),
        "retired": annotator.retired_at is not None,
        "votes": figures.choices,
        "swayed": figures.swayed,
        "agreement": _share(figures.compared),
        "trust": figures.trust,
        "tags": [{"tag": t.tag, "wrong": t.wrong, **_share(t.share)} for t in figures.tags],
        "run": _run(ai_voting.last_run(annotator)),
    }
    return dict(AiAnnotatorSerializer(data).data)


def _share(share: Any) -> dict[str, Any]:
    interval = list(share.interval) if share.interval else None
    return {"pairs": share.pairs, "same": share.same, "rate": share.rate, "ci95": interval}


def _run(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    data = {"run": run.uuid, "done": run.step, "bounded": ai_voting.is_bounded(run)}
    return data | {name: getattr(run, name) for name in ("state", "error", "total")}
