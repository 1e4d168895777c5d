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
from training.api.list_pages import BAD_PAGE, PageQuery, page_if_asked
from training.api.settings_calls import RoundChoiceSerializer, by_field
from training.figures import run_progress
from training.models import Round
from training.plans import expected_cost, round_settings
from training.rounds import loop_state
from training.rounds.start_and_cancel import (
    RoundRefused,
    RoundRunning,
    WrongSettings,
    start_round,
)


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
    preset = serializers.CharField(help_text="quick, balanced or careful; empty before presets.")
    chosen = serializers.DictField(help_text="Settings chosen in place of the preset's.")
    estimate = serializers.DictField(help_text="What was expected when it started.")
    took_seconds = serializers.FloatField(allow_null=True, help_text="Of its stages, by a clock.")
    peak_gib = serializers.FloatField(allow_null=True, help_text="Most memory held by a stage.")
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
    next = serializers.URLField(allow_null=True, help_text="Of older rounds, where pages are asked")
    previous = serializers.URLField(allow_null=True)


class StartSerializer(RoundChoiceSerializer):
    save_settings = serializers.BooleanField(
        required=False, default=False, help_text="Coming rounds have these settings, too."
    )
    seed = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=2**31 - 1, default=None
    )


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(
    methods=["GET"],
    operation_id="rounds",
    parameters=[PageQuery],
    responses={200: LoopSerializer, 400: BAD_PAGE},
)
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
    """The loop's state and its rounds, the latest first: all, or a page.

    POST starts a round (admins).
    """
    if request.method == "POST":
        return _start(request, slug)
    project = exchange.project_or_404(request, slug, "reviewer")
    state = loop_state.state(project)
    fields = LoopSerializer().fields.keys() - {"rounds", "next", "previous"}
    data = {field: getattr(state, field) for field in fields}
    history = loop_state.history(project)
    page = page_if_asked(request, history, _round)
    if page is not None:
        return Response(data | page | {"rounds": page.pop("results")})
    whole = {"rounds": [_round(round) for round in history], "next": None, "previous": None}
    return Response(data | whole)


def _start(request: Request, slug: str) -> Response:
    project = exchange.project_or_404(request, slug, "admin")
    assert isinstance(request.user, User), "only who signed in has a role"
    given = StartSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    seed, choice = given.validated_data["seed"], given.choice(project)
    try:
        round = start_round(project, by=request.user, trigger="admin", seed=seed, choice=choice)
    except WrongSettings as error:
        raise serializers.ValidationError(by_field(error.problems)) from error
    except RoundRunning as error:
        return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
    except RoundRefused as error:
        return Response({"detail": str(error)}, status=status.HTTP_400_BAD_REQUEST)
    if given.validated_data["save_settings"]:
        round_settings.save(project, choice)
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
        "preset": round.preset,
        "chosen": round.chosen,
        "estimate": round.estimate,
        "took_seconds": expected_cost.took_seconds(round),
        "peak_gib": expected_cost.peak_gib(round),
        "outcome": run_progress.headline(run).verdict,
        "error": run.error if run else "",
    }
    return dict(RoundSerializer(data).data)
