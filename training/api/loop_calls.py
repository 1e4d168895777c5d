"""REST: the loop's state, and starting a round."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.contrib.auth.models import User
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import exchange
from training.figures import run_progress
from training.models import Round
from training.rounds import loop_state
from training.rounds.start_and_cancel import RoundRefused, RoundRunning, start_round


class StageSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(["waiting", "running", "done", "failed", "cancelled"])
    step = serializers.IntegerField()
    total = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True)
    metrics = serializers.DictField(child=serializers.FloatField(allow_null=True))


class RoundSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    state = serializers.ChoiceField(Round.State.choices)
    trigger = serializers.CharField()
    dataset_version = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    stages = StageSerializer(many=True)
    models = serializers.ListField(child=serializers.CharField())
    outcome = serializers.CharField()
    error = serializers.CharField()


class LoopSerializer(serializers.Serializer[Any]):
    votes = serializers.IntegerField()
    pairs_open = serializers.IntegerField()
    pairs_resolved = serializers.IntegerField()
    resolved_since = serializers.IntegerField(help_text="Pairs resolved since the last round.")
    round_after = serializers.IntegerField(help_text="Pairs that start a round; 0 is never.")
    policy = serializers.CharField(help_text="The promoted policy; empty before the first.")
    blocked = serializers.CharField(help_text="Why no round can start now; empty if one can.")
    rounds = RoundSerializer(many=True)


class StartSerializer(serializers.Serializer[Any]):
    seed = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=2**31 - 1, default=None
    )


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(methods=["GET"], operation_id="rounds", responses=LoopSerializer)
@extend_schema(
    methods=["POST"],
    operation_id="start_round",
    request=StartSerializer,
    responses={
        201: RoundSerializer,
        400: OpenApiResponse(description="A bad value, or not enough votes."),
        409: OpenApiResponse(description="A round of the project is live already."),
    },
)
@api_view(["GET", "POST"])
def rounds(request: Request, slug: str) -> Response:
    """The loop's state and its rounds, the latest first. POST starts a round (admins)."""
    if request.method == "POST":
        return _start(request, slug)
    project = exchange.project_or_404(request, slug, "reviewer")
    state = loop_state.state(project)
    fields = LoopSerializer().fields.keys() - {"rounds"}
    data = {field: getattr(state, field) for field in fields}
    return Response(data | {"rounds": [_round(round) for round in loop_state.history(project)]})


def _start(request: Request, slug: str) -> Response:
    project = exchange.project_or_404(request, slug, "admin")
    assert isinstance(request.user, User), "only who signed in has a role"
    given = StartSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    seed = given.validated_data["seed"]
    try:
        round = start_round(project, by=request.user, trigger="admin", seed=seed)
    except RoundRunning as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    except RoundRefused as error:
        return Response({"detail": str(error)}, status=status.HTTP_400_BAD_REQUEST)
    return Response(_round(round), status=status.HTTP_201_CREATED)


def _round(round: Round) -> dict[str, Any]:
    run = run_progress.last_run(round)
    lines = [asdict(line) for line in run_progress.stage_lines(run)]
    data = {
        "number": round.number,
        "state": round.state,
        "trigger": round.trigger,
        "dataset_version": round.dataset_version,
        "created_at": round.created_at,
        "finished_at": round.finished_at,
        "stages": lines,
        "models": [version.name for version in run.models.all()] if run else [],
        "outcome": run_progress.headline(run).verdict,
        "error": run.error if run else "",
    }
    return dict(RoundSerializer(data).data)
