"""Agreement of the annotators of a project."""

from __future__ import annotations

from typing import Any

from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.direct_import_calls import BAD, choice, flag
from annotate.api.resources.fields import ANSWERS, ROOT
from annotate.people.permissions import project_or_404
from annotate.quality import agreement_counts
from annotate.statistics.agreement import STATISTICS


class IntervalsBody(serializers.Serializer[Any]):
    raw, alpha_nominal, alpha_ordinal, fleiss_kappa = (
        serializers.ListField(
            child=serializers.FloatField(), min_length=2, max_length=2, allow_null=True
        )
        for _ in STATISTICS
    )


class AgreementBody(serializers.Serializer[Any]):
    """Agreement over pairs with at least two votes. Undefined values are null."""

    stream = serializers.ChoiceField(choices=agreement_counts.STREAMS)
    pairs = serializers.IntegerField()
    votes = serializers.IntegerField()
    raw = serializers.FloatField(allow_null=True)
    alpha_nominal = serializers.FloatField(allow_null=True)
    alpha_ordinal = serializers.FloatField(allow_null=True)
    fleiss_kappa = serializers.FloatField(allow_null=True)
    ci95 = IntervalsBody()
    explanations = serializers.DictField(
        child=serializers.CharField(), help_text="Why a value or an interval is null."
    )


@extend_schema(
    operation_id="agreement",
    parameters=[
        OpenApiParameter("stream", str, enum=agreement_counts.STREAMS),
        OpenApiParameter("votes", str, enum=("every",), description="Not only the first two."),
        OpenApiParameter("include_simulated", bool),
    ],
    responses={200: AgreementBody, 400: BAD, **ANSWERS},
)
@api_view(["GET"])
def agreement(request: Request, slug: str) -> Response:
    """Agreement of the first two votes of each pair, with 95 % bootstrap intervals."""
    project = project_or_404(request, slug, "reviewer")
    measured = agreement_counts.measure(
        project,
        stream=choice(request, "stream", agreement_counts.STREAMS),
        every=choice(request, "votes", ("every",)) is not None,
        include_simulated=flag(request, "include_simulated"),
    )
    figures = measured.agreement
    return Response(
        {
            "stream": measured.stream,
            "pairs": figures.pairs,
            "votes": figures.votes,
            **figures.values,
            "ci95": figures.intervals,
            "explanations": figures.explanations,
        }
    )


urlpatterns = [path(ROOT + "agreement/", agreement, name="api-agreement")]
