"""REST: the state of active learning."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import exchange
from training.active import queue_notice
from training.models import ActiveState


class ComparisonBody(serializers.Serializer[Any]):
    votes = serializers.IntegerField(help_text="Of each arm, that a head was fitted on.")
    pairs = serializers.IntegerField(help_text="Of held-out prompts, that heads were scored on.")
    gain = serializers.FloatField(help_text="Accuracy of active order minus that of random order.")
    low = serializers.FloatField()
    high = serializers.FloatField(
        help_text="Ends of its interval, which holds however often one looks."
    )
    active = serializers.FloatField()
    random = serializers.FloatField(help_text="Accuracies of heads on real votes of each arm.")


class ForecastBody(serializers.Serializer[Any]):
    votes = serializers.ListField(child=serializers.IntegerField())
    accuracy = serializers.ListField(child=serializers.FloatField())
    low = serializers.ListField(child=serializers.FloatField())
    high = serializers.ListField(child=serializers.FloatField())
    gain = serializers.FloatField(help_text="In accuracy from the next 500 votes.")
    gain_low = serializers.FloatField()
    gain_high = serializers.FloatField()
    point = serializers.IntegerField(
        allow_null=True, help_text="Votes for one point more; null: too far to tell."
    )
    stop = serializers.BooleanField(help_text="The next 500 votes bring less than the noise.")


class ActiveBody(serializers.Serializer[Any]):
    notice = serializers.CharField(help_text="The order in which pairs are asked, in a sentence.")
    at_random = serializers.BooleanField(help_text="True where no acquisition ranks the pairs now.")
    cause = serializers.CharField(help_text="Of random order; empty if there is none.")
    since = serializers.DateTimeField(allow_null=True, help_text="When that cause began.")
    acquisition = serializers.CharField()
    votes = serializers.IntegerField(help_text="That these figures rest on.")
    counted_at = serializers.DateTimeField(allow_null=True)
    comparison = ComparisonBody(allow_null=True, help_text="null: not measurable yet.")
    measurable_at = serializers.IntegerField(
        allow_null=True, help_text="Votes at which a comparison can be made, if that is known."
    )
    forecast = ForecastBody(allow_null=True)


@extend_schema(operation_id="active_learning", responses={200: ActiveBody})
@api_view(["GET"])
def active_learning(request: Request, slug: str) -> Response:
    """The order of the queue, what it is worth, and what more votes bring (reviewers)."""
    project = exchange.project_or_404(request, slug, "reviewer")
    state = ActiveState.objects.filter(project=project).select_related("project").first()
    kept = state or ActiveState(project=project)
    body = {
        "notice": queue_notice.notice(state),
        "at_random": not kept.counted_at or bool(kept.cause) or kept.acquisition == "random",
        "comparison": kept.comparison or None,
        "forecast": kept.report.get("forecast"),
    }
    names = ("cause", "since", "acquisition", "votes", "counted_at", "measurable_at")
    body |= {name: getattr(kept, name) for name in names}
    return Response(ActiveBody(body).data)
