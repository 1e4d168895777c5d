"""Adjudications and flags: what reviewers decided, and what annotators warned of."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.authentication import user_of
from annotate.api.exceptions import Conflict
from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.resources.fields import ANSWERS, CONFLICT, ROOT
from annotate.api.serializers import KnownFieldsOnly, StrictCharField, StrictIntegerField
from annotate.forms.review_forms import MAX_EXPLANATION
from annotate.models import Adjudication, Flag, Project
from annotate.models.assignment import MAX_STRENGTH, Choice
from annotate.people.permissions import project_or_404
from annotate.review import adjudication
from annotate.votes.export_values import pseudonyms


class AdjudicationBody(serializers.ModelSerializer[Adjudication]):
    """A reviewer's decision: the label of its pair."""

    pair = serializers.IntegerField(source="pair_id")
    reviewer = serializers.CharField(
        source="reviewer.username", default=None, allow_null=True, read_only=True
    )
    choice = serializers.ChoiceField(choices=Choice.choices)

    class Meta:
        model = Adjudication
        fields = ("pair", "reviewer", "choice", "strength", "category", "rationale", "decided_at")


class Decision(KnownFieldsOnly):
    pair = StrictIntegerField(min_value=1, max_value=2**63 - 1)
    choice = serializers.ChoiceField(choices=Choice.choices)
    strength = StrictIntegerField(
        min_value=1,
        max_value=MAX_STRENGTH,
        default=2,
        help_text="1 slightly, 2 clearly, 3 much. Ignored for tie and both_bad.",
    )
    category = serializers.ChoiceField(
        choices=Adjudication.Category.choices,
        required=False,
        help_text="Without it, the one that the decision suggests.",
    )
    rationale = StrictCharField(
        allow_blank=True,
        max_length=MAX_EXPLANATION,
        default="",
        help_text="Why; some projects ask for it.",
    )


class AdjudicationQuery(ListQuery):
    pair = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    category = serializers.ChoiceField(choices=Adjudication.Category.choices, required=False)
    since = serializers.DateTimeField(required=False)


class FiledFlag(serializers.ModelSerializer[Flag]):
    """An annotator's warning about a pair."""

    pair = serializers.IntegerField(source="pair_id")
    annotator = serializers.CharField(source="pseudonym")

    class Meta:
        model = Flag
        fields = ("id", "pair", "annotator", "kind", "created_at", "settled_at")


class FlagQuery(ListQuery):
    pair = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    kind = serializers.ChoiceField(choices=Flag.Kind.choices, required=False)
    settled = serializers.BooleanField(required=False, help_text="Whether a reviewer looked at it.")


@extend_schema(
    operation_id="adjudications_list",
    tags=["adjudications"],
    methods=["GET"],
    parameters=[AdjudicationQuery],
    responses={200: page_of(AdjudicationBody), **ANSWERS},
)
@extend_schema(
    operation_id="adjudications_new",
    tags=["adjudications"],
    methods=["POST"],
    request=Decision,
    responses={
        200: OpenApiResponse(AdjudicationBody, description="It takes the place of another one."),
        201: AdjudicationBody,
        409: CONFLICT,
        **ANSWERS,
    },
)
@api_view(["GET", "POST"])
def adjudications(request: Request, slug: str) -> Response:
    """The reviewers' decisions, newest first; or a decision, which is its pair's label from then
    on (reviewers). The votes of the pair stay as they are."""
    project = project_or_404(request, slug, "reviewer")
    if request.method == "POST":
        return _decide(request, project)
    filters = asked(request, AdjudicationQuery)
    if "since" in filters:
        filters["decided_at__gte"] = filters.pop("since")
    rows = Adjudication.objects.filter(pair__project=project, **filters)
    rows = rows.select_related("reviewer")
    return listed(request, rows, lambda page: list(AdjudicationBody(page, many=True).data))


def _decide(request: Request, project: Project) -> Response:
    form = Decision(data=request.data)
    form.is_valid(raise_exception=True)
    said = dict(form.validated_data)
    if project.require_rationale and not said["rationale"].strip():
        raise ValidationError({"rationale": ["This project wants a rationale."]})
    pair = project.pairs.filter(pk=said.pop("pair")).first()
    if pair is None:
        raise ValidationError({"pair": ["The project has no such pair."]})
    new = not Adjudication.objects.filter(pair=pair).exists()
    try:
        decision = adjudication.decide(user_of(request), pair, **said)
    except adjudication.Undecidable as problem:
        raise Conflict(str(problem)) from problem
    code = status.HTTP_201_CREATED if new else status.HTTP_200_OK
    return Response(AdjudicationBody(decision).data, status=code)


@extend_schema(
    operation_id="adjudications_one",
    tags=["adjudications"],
    methods=["GET"],
    responses={200: AdjudicationBody, **ANSWERS},
)
@extend_schema(
    operation_id="adjudications_take_back",
    tags=["adjudications"],
    methods=["DELETE"],
    responses={204: OpenApiResponse(description="The votes speak again."), **ANSWERS},
)
@api_view(["GET", "DELETE"])
def decision(request: Request, slug: str, pair_id: int) -> Response:
    """The decision on a pair; DELETE takes it back (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    if request.method == "DELETE":
        if not adjudication.take_back(get_object_or_404(project.pairs, pk=pair_id)):
            raise Http404("There is no decision on this pair.")
        return Response(status=status.HTTP_204_NO_CONTENT)
    rows = Adjudication.objects.filter(pair__project=project).select_related("reviewer")
    return Response(AdjudicationBody(get_object_or_404(rows, pair__pk=pair_id)).data)


@extend_schema(
    operation_id="flags_list",
    tags=["flags"],
    parameters=[FlagQuery],
    responses={200: page_of(FiledFlag), **ANSWERS},
)
@api_view(["GET"])
def flags(request: Request, slug: str) -> Response:
    """Warnings about pairs, newest first (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, FlagQuery)
    if "settled" in filters:
        filters["settled_at__isnull"] = not filters.pop("settled")
    rows = Flag.objects.filter(pair__project=project, **filters)
    return listed(request, rows, lambda page: _flag_bodies(project, page))


def _flag_bodies(project: Project, page: Any) -> list[dict[str, Any]]:
    name = pseudonyms(project)
    for flag in page:
        flag.pseudonym = name(flag.annotator_id)
    return list(FiledFlag(page, many=True).data)


urlpatterns = [
    path(ROOT + "adjudications/", adjudications, name="api-adjudications"),
    path(ROOT + "adjudications/<int:pair_id>/", decision, name="api-adjudication"),
    path(ROOT + "flags/", flags, name="api-flags"),
]
