"""Fields that several bodies share, and the answers of calls that name one thing."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema_field
from rest_framework import serializers

from annotate.api.direct_import_calls import BAD, DENIED, FOREIGN
from annotate.api.serializers import ErrorBody, KnownFieldsOnly, MessageBody, StrictCharField

Row = TypeVar("Row", bound=Model)
LONGEST_TAG = 200
MOST_TAGS = 100
ROOT = "api/v1/projects/<slug:slug>/"
ANSWERS = {400: BAD, 403: DENIED, 404: FOREIGN}
CONFLICT = OpenApiResponse(ErrorBody, description="It is not the time for that.")


@extend_schema_field(MessageBody(many=True))
class Chat(serializers.JSONField):
    """Messages as they are stored."""


def tags(**options: Any) -> serializers.ListField:
    return serializers.ListField(
        child=StrictCharField(max_length=LONGEST_TAG), max_length=MOST_TAGS, **options
    )


def imported_by() -> serializers.UUIDField:
    return serializers.UUIDField(
        source="imported_by.uuid",
        default=None,
        allow_null=True,
        read_only=True,
        help_text="Id of the import that added it.",
    )


def with_imports(rows: QuerySet[Row]) -> QuerySet[Row]:
    """The rows with the import that added each, without its report, which may be long."""
    return rows.select_related("imported_by").defer("imported_by__report")


class TagsAndMetadata(KnownFieldsOnly):
    """Fields that are left out stay as they are."""

    tags = tags(required=False, help_text="All of its tags from now on.")
    metadata = serializers.DictField(required=False, help_text="All of its metadata from now on.")


def save_tags(row: Any, data: Any) -> None:
    """Write the tags and metadata of a prompt or a pair. Raises ValidationError."""
    form = TagsAndMetadata(data=data)
    form.is_valid(raise_exception=True)
    for name, value in form.validated_data.items():
        setattr(row, name, value)
    if form.validated_data:
        row.save(update_fields=list(form.validated_data))
