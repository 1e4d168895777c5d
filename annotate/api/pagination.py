"""Lists: filters from an allow-list, and pages that begin behind a row, whatever is added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.serializers import KnownFieldsOnly

PAGE = 50
LONGEST_PAGE = 200
Row = TypeVar("Row", bound=Model)
Bodies = Callable[[Sequence[Row]], list[dict[str, Any]]]


class NewestFirst(CursorPagination):
    """By number, which never changes: a row is met once, however long a client takes."""

    page_size = PAGE
    page_size_query_param = "page_size"
    max_page_size = LONGEST_PAGE
    ordering = "-id"

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise _bad_cursor() from None
        # A text or None, whatever the stubs say.
        position: Any = cursor and cursor.position
        if position is not None and not self.knows(position):
            raise _bad_cursor()
        return cursor

    def knows(self, position: str) -> bool:
        """False of a position that no answer of ours has: it would go into a query as it is."""
        return position.isascii() and position.isdigit() and len(position) < 19


class NewestByTime(NewestFirst):
    """For rows of several tables, whose numbers mean nothing beside each other."""

    ordering = "-created_at"

    def knows(self, position: str) -> bool:
        try:
            at = parse_datetime(position)
            # A time without a zone is none of ours, and one at the calendar's edge has no UTC.
            return at is not None and at.tzinfo is not None and at.astimezone(UTC).year > 1
        except (ValueError, OverflowError):
            return False


class ListQuery(KnownFieldsOnly):
    """Parameters of every list; those of one list are added by its own class."""

    cursor = serializers.CharField(
        required=False, max_length=500, help_text="As `next` and `previous` have it."
    )
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=LONGEST_PAGE, help_text=f"{PAGE} without it."
    )


class BeforeQuery(ListQuery):
    """Of lists that went on by a number in earlier releases."""

    before = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="Rows that are older than the one of this number, for clients of earlier "
        "releases: `next` has a cursor.",
    )


def asked_before(request: Request, rows: QuerySet[Row]) -> QuerySet[Row]:
    """The rows of a list that knows `before`. Raises ValidationError."""
    before = asked(request, BeforeQuery).get("before")
    return rows if before is None else rows.filter(pk__lt=before)


def asked(request: Request, query: type[KnownFieldsOnly]) -> dict[str, Any]:
    """The filters of the address. Raises ValidationError, also for one that is not in the list."""
    # A plain dict: of a form's fields DRF takes an absent box for one that is not ticked.
    form = query(data=request.query_params.dict())
    form.is_valid(raise_exception=True)
    filters = dict(form.validated_data)
    return {name: filters[name] for name in filters if name not in ("cursor", "page_size")}


def listed(
    request: Request,
    rows: QuerySet[Row],
    bodies: Bodies[Row],
    *,
    by: type[NewestFirst] = NewestFirst,
) -> Response:
    """One page of the rows as an answer."""
    paginator = by()
    page = paginator.paginate_queryset(rows, request) or []
    return paginator.get_paginated_response(bodies(page))


def page_of(body: type[serializers.BaseSerializer[Any]]) -> serializers.Serializer[Any]:
    """The schema of a list's answer."""
    return inline_serializer(
        f"{body.__name__}Page",
        {
            "next": serializers.URLField(allow_null=True, help_text="Address of the older ones."),
            "previous": serializers.URLField(allow_null=True),
            "results": body(many=True),
        },
    )


def _bad_cursor() -> ValidationError:
    return ValidationError({"cursor": ["No answer of this list has this cursor."]})
