"""The calls of batches: list, make of a selection of pairs, give to people, rename, take apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
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
from annotate.api.resources.pair_resource import PairQuery
from annotate.api.resources.prompt_resource import SEARCHED, columns, searched
from annotate.api.serializers import KnownFieldsOnly, StrictCharField, StrictIntegerField
from annotate.models import Batch, Membership, Pair, Project, TokenScope
from annotate.people import assigned_batches
from annotate.people.permissions import project_or_404
from annotate.people.token_scopes import needs_scope
from annotate.review import search

MOST_PEOPLE = 1000


class PairSelection(PairQuery):
    """Filters of the list of pairs; without any, all pairs."""

    cursor = None  # type: ignore[assignment]  # So a field of the base is left out.
    page_size = None  # type: ignore[assignment]


def _numbers(most: int, **options: Any) -> serializers.ListField:
    number = StrictIntegerField(min_value=1, max_value=2**63 - 1)
    return serializers.ListField(child=number, max_length=most, required=False, **options)


class BatchChange(KnownFieldsOnly):
    """Fields that are left out stay as they are."""

    name = StrictCharField(max_length=80, required=False)
    people = _numbers(
        MOST_PEOPLE, help_text="Ids of all members who have the batch from now on (`annotators/`)."
    )


class NewBatch(BatchChange):
    """A batch of pairs that want votes and are in no other batch."""

    name = StrictCharField(max_length=80)
    pairs = _numbers(Batch.LARGEST, help_text="Ids of the pairs to choose from.")
    selection = PairSelection(required=False, help_text="Or what the list of pairs would show.")
    most = StrictIntegerField(
        min_value=1,
        max_value=Batch.LARGEST,
        default=Batch.LARGEST,
        help_text="Pairs at most, drawn at random where there are more.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "pairs" in attrs and "selection" in attrs:
            raise serializers.ValidationError({"selection": "Either pairs or a selection."})
        return attrs


class BatchPerson(serializers.Serializer[Any]):
    """One person's part in a batch."""

    id = serializers.IntegerField(source="member.pk", help_text="Of the member (`annotators/`).")
    pseudonym = serializers.CharField(source="member.pseudonym")
    given = serializers.BooleanField(
        help_text="False of somebody who voted in it and has it no more."
    )
    votes = serializers.IntegerField()
    left = serializers.IntegerField(help_text="Pairs that this person could still vote on.")


class BatchBody(serializers.ModelSerializer[Batch]):
    """A batch. Pairs that left the project are in none of the numbers."""

    address = serializers.SerializerMethodField(help_text="Of this batch in the API.")
    pairs = serializers.IntegerField(source="n_pairs", read_only=True)
    open = serializers.IntegerField(
        source="n_open", read_only=True, help_text="Of them, those that want votes."
    )
    done = serializers.IntegerField(source="n_done", read_only=True)
    people = serializers.PrimaryKeyRelatedField[Membership](
        many=True, read_only=True, help_text="Ids of the members who have it."
    )

    class Meta:
        model = Batch
        fields = ("id", "address", "name", "pairs", "open", "done", "people", "created_at")

    def get_address(self, batch: Batch) -> str:
        return reverse("api-batch", args=[batch.project.slug, batch.pk])


class WholeBatchBody(BatchBody):
    shares = BatchPerson(many=True, help_text="Of those who have it, or voted in it.")

    class Meta(BatchBody.Meta):
        fields = (*BatchBody.Meta.fields, "shares")  # type: ignore[assignment]  # One longer.


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="batches_list",
    tags=["batches"],
    methods=["GET"],
    parameters=[ListQuery],
    responses={200: page_of(BatchBody), **ANSWERS},
)
@extend_schema(
    operation_id="batches_new",
    tags=["batches"],
    methods=["POST"],
    request=NewBatch,
    responses={201: WholeBatchBody, 409: CONFLICT, **ANSWERS},
)
@api_view(["GET", "POST"])
def batches(request: Request, slug: str) -> Response:
    """Batches, newest first, with how far each has come (reviewers); or a new one (admins)."""
    project = _project(request, slug)
    if request.method == "POST":
        return _new(request, project)
    asked(request, ListQuery)
    return listed(request, _shown(project), lambda page: list(BatchBody(page, many=True).data))


@needs_scope(TokenScope.ADMIN)
@extend_schema(
    operation_id="batches_one",
    tags=["batches"],
    methods=["GET"],
    responses={200: WholeBatchBody, **ANSWERS},
)
@extend_schema(
    operation_id="batches_change",
    tags=["batches"],
    methods=["PATCH"],
    request=BatchChange,
    responses={200: WholeBatchBody, **ANSWERS},
)
@extend_schema(
    operation_id="batches_delete",
    tags=["batches"],
    methods=["DELETE"],
    responses={
        204: OpenApiResponse(description="It is no batch any more. Its pairs and votes stay."),
        **ANSWERS,
    },
)
@api_view(["GET", "PATCH", "DELETE"])
def one(request: Request, slug: str, batch_id: int) -> Response:
    """One batch with everybody's part in it (reviewers). PATCH renames it or says whose it is,
    DELETE makes ordinary pairs of its pairs (admins)."""
    project = _project(request, slug)
    batch = get_object_or_404(project.batches, pk=batch_id)
    if request.method == "DELETE":
        assigned_batches.take_apart(batch)
        return Response(status=status.HTTP_204_NO_CONTENT)
    if request.method == "PATCH":
        form = BatchChange(data=request.data)
        form.is_valid(raise_exception=True)
        wanted = form.validated_data
        people = _members(project, wanted["people"]) if "people" in wanted else None
        _change(batch, name=wanted.get("name", batch.name), people=people)
    return Response(_whole(project, batch.pk))


def _new(request: Request, project: Project) -> Response:
    form = NewBatch(data=request.data)
    form.is_valid(raise_exception=True)
    wanted = form.validated_data
    people = _members(project, wanted.get("people", ()))
    pairs = _chosen(project, wanted)
    by = user_of(request)
    try:
        batch = assigned_batches.make(project, wanted["name"], pairs, most=wanted["most"], by=by)
    except assigned_batches.NameTaken as problem:
        raise ValidationError({"name": [str(problem)]}) from problem
    except ValueError as problem:
        raise Conflict(str(problem)) from problem
    batch.people.set(people)
    body = _whole(project, batch.pk)
    return Response(body, status=status.HTTP_201_CREATED, headers={"Location": body["address"]})


def _chosen(project: Project, wanted: dict[str, Any]) -> QuerySet[Pair]:
    """The pairs that a new batch is made of, those of other batches included."""
    if "pairs" in wanted:
        return project.pairs.filter(pk__in=wanted["pairs"])
    filters = wanted.get("selection", {})
    return search.pairs(project, searched(filters, SEARCHED)).filter(**columns(filters))


def _members(project: Project, numbers: Sequence[int]) -> list[Membership]:
    """The members of these ids. Raises ValidationError where one could not be given a batch."""
    members = list(assigned_batches.may_be_given(project).filter(pk__in=numbers))
    if unknown := sorted(set(numbers) - {member.pk for member in members}):
        listed = ", ".join(map(str, unknown[:10]))
        raise ValidationError({"people": [f"No active member has the id {listed}."]})
    return members


def _change(batch: Batch, *, name: str, people: Sequence[Membership] | None) -> None:
    try:
        assigned_batches.rename(batch, name)
    except assigned_batches.NameTaken as problem:
        raise ValidationError({"name": [str(problem)]}) from problem
    if people is not None:
        batch.people.set(people)


def _project(request: Request, slug: str) -> Project:
    """Reviewers look, admins change."""
    return project_or_404(request, slug, "reviewer" if request.method == "GET" else "admin")


def _shown(project: Project) -> QuerySet[Batch]:
    return project.batches.with_progress().select_related("project").prefetch_related("people")


def _whole(project: Project, number: int) -> dict[str, Any]:
    batch = _shown(project).get(pk=number)
    shares = [one for one in assigned_batches.shares(batch) if one.given or one.votes]
    return {**BatchBody(batch).data, "shares": BatchPerson(shares, many=True).data}


urlpatterns = [
    path(ROOT + "batches/", batches, name="api-batches"),
    path(ROOT + "batches/<int:batch_id>/", one, name="api-batch"),
]
