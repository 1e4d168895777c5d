"""Pages of lists that came whole before there were pages, and still do unless one is asked for.

Pages are those of every other list: the settings name their class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import (
    OpenApiResponse,
    PolymorphicProxySerializer,
    inline_serializer,
)
from rest_framework import serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.settings import api_settings

BAD_PAGE = OpenApiResponse(description="A parameter of the page is wrong.")
Row = TypeVar("Row", bound=Model)


class PageQuery(serializers.Serializer[Any]):
    """Parameters that ask for a page; without either the list comes whole."""

    cursor = serializers.CharField(
        required=False, max_length=500, help_text="As `next` and `previous` have it."
    )
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=200)


def page_if_asked(
    request: Request, rows: QuerySet[Row], body: Callable[[Row], dict[str, Any]]
) -> dict[str, Any] | None:
    """The page that the address asks for, newest first; None where it asks for none.

    Raises ValidationError.
    """
    query = PageQuery(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    if not query.validated_data:
        return None
    pages: Any = api_settings.DEFAULT_PAGINATION_CLASS  # the stubs take it for its name
    paginator: BasePagination = pages()
    page = paginator.paginate_queryset(rows, request) or []
    answer: dict[str, Any] = paginator.get_paginated_response([body(one) for one in page]).data
    return answer


def links() -> dict[str, serializers.Field[Any, Any, Any, Any]]:
    """The schema of the addresses of a page's neighbours."""
    return {
        "next": serializers.URLField(allow_null=True, help_text="Address of the older ones."),
        "previous": serializers.URLField(allow_null=True),
    }


def whole_or_page(body: type[serializers.Serializer[Any]]) -> PolymorphicProxySerializer:
    """The schema of a plain list that is a page where one is asked for."""
    name = body.__name__.removesuffix("Serializer")
    page = inline_serializer(f"{name}Page", {**links(), "results": body(many=True)})
    return PolymorphicProxySerializer(
        component_name=f"{name}List",
        serializers=[body(many=True), page],
        resource_type_field_name=None,
        many=False,
    )
