"""Prompts and completions: lists, single ones, new ones in small batches, tags and metadata."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import api_view, throttle_classes
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.pagination import ListQuery, asked, listed, page_of
from annotate.api.rate_limits import NewImportThrottle
from annotate.api.resources.fields import (
    ANSWERS,
    ROOT,
    Chat,
    TagsAndMetadata,
    imported_by,
    save_tags,
    with_imports,
)
from annotate.api.resources.new_prompts import NewPrompts, imported_rows
from annotate.importing.problems import Refused
from annotate.importing.row_store import Writer
from annotate.models import Completion, Project, Prompt, Rating
from annotate.people.permissions import project_or_404
from annotate.review import search
from annotate.votes.export_values import pseudonyms

SPLITS = ("train", "held_out")


class RatingBody(serializers.Serializer[Any]):
    """Somebody's word on one completion by itself."""

    name = serializers.CharField(help_text="label (1 is good, 0 bad), helpfulness, ...")
    value = serializers.FloatField()
    annotator = serializers.CharField(
        allow_null=True, help_text="Pseudonym; null where the source names nobody."
    )


class CompletionBody(serializers.ModelSerializer[Completion]):
    prompt = serializers.IntegerField(source="prompt_id")
    model = serializers.CharField(source="policy", help_text="Version or name; may be empty.")
    messages = Chat(allow_null=True, help_text="The turns of a reply that is more than one text.")
    sampling = serializers.DictField()
    metadata = serializers.DictField()
    ratings = serializers.SerializerMethodField()
    imported_by = imported_by()

    class Meta:
        model = Completion
        fields = (
            *("id", "prompt", "text", "messages", "model", "source", "sampling", "metadata"),
            *("ratings", "created_at", "imported_by"),
        )

    @extend_schema_field(RatingBody(many=True))
    def get_ratings(self, completion: Completion) -> list[dict[str, Any]]:
        name = self.context["pseudonyms"]
        return [
            {
                "name": one.name,
                "value": one.value,
                "annotator": name(one.annotator_id) if one.annotator_id else None,
            }
            for one in completion.ratings.all()
        ]


class PromptBody(serializers.ModelSerializer[Prompt]):
    messages = Chat()
    tools = serializers.ListField(allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField()
    split = serializers.SerializerMethodField()
    imported_by = imported_by()

    class Meta:
        model = Prompt
        fields = (
            *("id", "messages", "tools", "reference", "tags", "metadata", "split"),
            *("created_at", "imported_by"),
        )

    @extend_schema_field(serializers.ChoiceField(choices=SPLITS))
    def get_split(self, prompt: Prompt) -> str:
        """Held-out prompts never enter training."""
        return SPLITS[prompt.held_out]


class Added(serializers.Serializer[Any]):
    prompts, completions, pairs, merged = (serializers.IntegerField() for _ in range(4))


class NewPromptsBody(serializers.Serializer[Any]):
    """The prompts in the order in which they were sent, those that were there among them."""

    added = Added(help_text="Merged: pairs that were there and gained what they did not know.")
    results = PromptBody(many=True)


class ContentQuery(ListQuery):
    q = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Text in the prompt or a reply."
    )
    metadata = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Text in them, or name=value."
    )
    model = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="That wrote a reply."
    )
    source = serializers.CharField(  # type: ignore[assignment]  # A field's own name.
        required=False, max_length=search.LONGEST, help_text="import, starter, round-7, ..."
    )
    imported_by = serializers.UUIDField(required=False, help_text="Id of an import.")
    created_since = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


class PromptQuery(ContentQuery):
    tag = serializers.CharField(
        required=False, max_length=search.LONGEST, help_text="Of the prompt or a pair of it."
    )
    split = serializers.ChoiceField(choices=SPLITS, required=False)


class CompletionQuery(ContentQuery):
    prompt = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


COLUMNS = {
    "imported_by": "imported_by__uuid",
    "created_since": "created_at__gte",
    "created_before": "created_at__lt",
}
"""Filters that are a column of the row itself."""
SEARCHED = {"model": "policy", "source": "round"}
"""Filters by the name that the data page gives them."""


def searched(filters: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The filters that the data page's search knows, by its names."""
    return {names.get(name, name): filters[name] for name in filters if name not in COLUMNS}


def columns(filters: dict[str, Any]) -> dict[str, Any]:
    return {column: filters[name] for name, column in COLUMNS.items() if name in filters}


@extend_schema(
    operation_id="prompts_list",
    tags=["prompts"],
    methods=["GET"],
    parameters=[PromptQuery],
    responses={200: page_of(PromptBody), **ANSWERS},
)
@extend_schema(
    operation_id="prompts_new",
    tags=["prompts"],
    methods=["POST"],
    request=NewPrompts,
    responses={
        200: OpenApiResponse(NewPromptsBody, description="All of it was there."),
        201: NewPromptsBody,
        **ANSWERS,
    },
)
@api_view(["GET", "POST"])
@throttle_classes([NewImportThrottle])
def prompts(request: Request, slug: str) -> Response:
    """The project's prompts, newest first (reviewers); or new ones with completions and pairs
    (admins). What is there already is found by its content and not added again."""
    if request.method == "POST":
        return _new(request, project_or_404(request, slug, "admin"))
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, PromptQuery)
    split = filters.pop("split", None)
    rows = search.prompts(project, searched(filters, SEARCHED)).filter(**columns(filters))
    if split:
        rows = rows.filter(held_out=split == "held_out")
    with search.from_the_newest():
        return listed(request, with_imports(rows), _prompt_bodies)


def _prompt_bodies(page: Any) -> list[dict[str, Any]]:
    return list(PromptBody(page, many=True).data)


def _new(request: Request, project: Project) -> Response:
    form = NewPrompts(data=request.data)
    form.is_valid(raise_exception=True)
    try:
        rows = imported_rows(form.validated_data["prompts"])
    except Refused as refused:
        raise ValidationError({f"prompts.{refused.field}": [refused.reason]}) from refused
    writer = Writer(project, now=timezone.now(), judged="ask")
    writer.add(rows)
    added: Counter[str] = writer.added
    hashes = [row.prompt_sha256 for row in rows]
    there = with_imports(project.prompts.filter(sha256__in=hashes))
    by_hash = {prompt.sha256: prompt for prompt in there}
    ordered = [by_hash[sha256] for sha256 in dict.fromkeys(hashes)]
    counts = {name: added[name] for name in ("prompts", "completions", "pairs", "merged")}
    new = any(added[name] for name in ("prompts", "completions", "pairs", "ratings"))
    return Response(
        {"added": counts, "results": _prompt_bodies(ordered)},
        status=status.HTTP_201_CREATED if new else status.HTTP_200_OK,
    )


@extend_schema(
    operation_id="prompts_one",
    tags=["prompts"],
    methods=["GET"],
    responses={200: PromptBody, **ANSWERS},
)
@extend_schema(
    operation_id="prompts_change",
    tags=["prompts"],
    methods=["PATCH"],
    request=TagsAndMetadata,
    responses={200: PromptBody, **ANSWERS},
)
@api_view(["GET", "PATCH"])
def prompt(request: Request, slug: str, prompt_id: int) -> Response:
    """One prompt (reviewers). PATCH replaces its tags or metadata (admins); its text never
    changes, because votes were cast on it."""
    role = "admin" if request.method == "PATCH" else "reviewer"
    project = project_or_404(request, slug, role)
    shown = get_object_or_404(with_imports(project.prompts.all()), pk=prompt_id)
    if request.method == "PATCH":
        save_tags(shown, request.data)
    return Response(PromptBody(shown).data)


@extend_schema(
    operation_id="completions_list",
    tags=["completions"],
    parameters=[CompletionQuery],
    responses={200: page_of(CompletionBody), **ANSWERS},
)
@api_view(["GET"])
def completions(request: Request, slug: str) -> Response:
    """The project's completions, newest first (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    filters = asked(request, CompletionQuery)
    rows = search.completions(project, searched(filters, {"model": "policy"}))
    rows = _with_ratings(with_imports(rows.filter(**columns(filters))))
    told = {"pseudonyms": pseudonyms(project)}
    with search.from_the_newest():
        return listed(
            request, rows, lambda page: list(CompletionBody(page, many=True, context=told).data)
        )


def _with_ratings(rows: QuerySet[Completion]) -> QuerySet[Completion]:
    return rows.prefetch_related(Prefetch("ratings", Rating.objects.order_by("pk")))


@extend_schema(
    operation_id="completions_one",
    tags=["completions"],
    responses={200: CompletionBody, **ANSWERS},
)
@api_view(["GET"])
def completion(request: Request, slug: str, completion_id: int) -> Response:
    """One completion (reviewers)."""
    project = project_or_404(request, slug, "reviewer")
    rows = _with_ratings(with_imports(Completion.objects.filter(prompt__project=project)))
    told = {"pseudonyms": pseudonyms(project)}
    return Response(CompletionBody(get_object_or_404(rows, pk=completion_id), context=told).data)


urlpatterns = [
    path(ROOT + "prompts/", prompts, name="api-prompts"),
    path(ROOT + "prompts/<int:prompt_id>/", prompt, name="api-prompt"),
    path(ROOT + "completions/", completions, name="api-completions"),
    path(ROOT + "completions/<int:completion_id>/", completion, name="api-completion"),
]
