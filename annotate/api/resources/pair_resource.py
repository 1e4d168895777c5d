"""Pairs: lists, single ones, tags and metadata."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.pagination import asked, listed, page_of
from annotate.api.resources.fields import (
    ANSWERS,
    ROOT,
    TagsAndMetadata,
    imported_by,
    save_tags,
    with_imports,
)
from annotate.api.resources.label_resource import LabelBody
from annotate.api.resources.prompt_resource import (
    SEARCHED,
    ContentQuery,
    columns,
    searched,
)
from annotate.models import Pair
from annotate.people.permissions import project_or_404
from annotate.review import search


class PairCounts(serializers.Serializer[Any]):
    a = serializers.IntegerField(source="n_a")
    tie = serializers.IntegerField(source="n_tie")
    b = serializers.IntegerField(source="n_b")


class StoredPair(serializers.ModelSerializer[Pair]):
    prompt = serializers.IntegerField(source="prompt_id")
    completion_a = serializers.IntegerField(source="completion_a_id")
    completion_b = serializers.IntegerField(source="completion_b_id")
    model_a = serializers.CharField(source="wrote_a", help_text="That wrote A; may be empty.")
    model_b = serializers.CharField(source="wrote_b")
    tags = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField()
    source_ids = serializers.ListField(child=serializers.CharField())
    votes = PairCounts(source="*", help_text="Standing votes; both_bad counts as tie.")
    label = LabelBody(allow_null=True, default=None)  # type: ignore[assignment]  # A field's own name.
    imported_by = imported_by()

    class Meta:
        model = Pair
        fields = (
            *("id", "prompt", "completion_a", "completion_b", "model_a", "model_b"),
            *("kind", "state", "arms", "stream", "source", "priority", "margin", "source_margin"),
            *("tags", "metadata", "source_ids", "votes", "asked", "open_slots", "label"),
            *("created_at", "resolved_at", "imported_by"),
        )


class PairQuery(ContentQuery):
    prompt = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    tag = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Of the pair or its prompt."
    )
    annotator = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Pseudonym of somebody who voted."
    )
    batch = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Name of the batch they are in."
    )
    state = serializers.ChoiceField(choices=Pair.State.choices, required=False)
    kind = serializers.ChoiceField(choices=Pair.Kind.choices, required=False)
    stream = serializers.ChoiceField(choices=Pair.Stream.choices, required=False)
    agreement = serializers.ChoiceField(choices=search.Search.AGREEMENT, required=False)
    flagged = serializers.BooleanField(required=False, help_text="Only those with a warning.")


@extend_schema(
    operation_id="pairs_list",
    tags=["pairs"],
    parameters=[PairQuery],
    responses={200: page_of(StoredPair), **ANSWERS},
)
@api_view(["GET"])
def pairs(request: Request, slug: str) -> Response:
    """The project's pairs with their labels, newest first (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, PairQuery)
    rows = search.pairs(project, searched(filters, SEARCHED)).filter(**columns(filters))
    with search.from_the_newest():
        return listed(request, _shown(rows), lambda page: list(StoredPair(page, many=True).data))


@extend_schema(
    operation_id="pairs_one",
    tags=["pairs"],
    methods=["GET"],
    responses={200: StoredPair, **ANSWERS},
)
@extend_schema(
    operation_id="pairs_change",
    tags=["pairs"],
    methods=["PATCH"],
    request=TagsAndMetadata,
    responses={200: StoredPair, **ANSWERS},
)
@api_view(["GET", "PATCH"])
def pair(request: Request, slug: str, pair_id: int) -> Response:
    """One pair (reviewers). PATCH replaces its tags or metadata (admins)."""
    role = "admin" if request.method == "PATCH" else "reviewer"
    project = project_or_404(request, slug, role)
    if request.method == "PATCH":
        save_tags(get_object_or_404(project.pairs, pk=pair_id), request.data)
    rows = _shown(search.pairs(project, {}))
    return Response(StoredPair(get_object_or_404(rows, pk=pair_id)).data)


def _shown(rows: QuerySet[Pair]) -> QuerySet[Pair]:
    named = rows.annotate(wrote_a=search.wrote("a"), wrote_b=search.wrote("b"))
    return with_imports(named.select_related(None).select_related("label"))


urlpatterns = [
    path(ROOT + "pairs/", pairs, name="api-pairs"),
    path(ROOT + "pairs/<int:pair_id>/", pair, name="api-pair"),
]
