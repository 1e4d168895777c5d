"""REST: the settings of rounds: those that are saved, their check, and what a round would need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import exchange
from training.plans import expected_cost, round_settings
from training.plans.round_settings import Choice, SettingsRefused
from training.rlhf.config import PRESETS, RoundConfig, differing, schema, to_dict


@extend_schema_field(
    schema(RoundConfig, leave_out=(*round_settings.PROJECTS_OWN, *round_settings.OPERATORS_OWN))
)
class ConfigField(serializers.DictField):
    """Settings of a round by section, as in docs/engine.md; those left out are the preset's."""


class RoundChoiceSerializer(serializers.Serializer[Any]):
    preset = serializers.ChoiceField(
        list(PRESETS), required=False, help_text="Left out: as the project's rounds usually have."
    )
    config = ConfigField(
        required=False,
        help_text="Settings in place of the preset's, by section. Left out: the saved ones.",
    )
    policy = serializers.CharField(
        required=False,
        allow_blank=True,
        default="",
        help_text="The version to start from, such as policy-3; empty: the one in use.",
    )

    def choice(self, project: exchange.Project) -> Choice:
        """The choice; parts that were left out are as the project's rounds usually have them."""
        data, usual = self.validated_data, round_settings.saved(project)
        return Choice(
            preset=data.get("preset", usual.preset),
            config=data.get("config", usual.config),
            policy=data.get("policy", ""),
            granted=usual.granted,
        )


class RoundEstimateSerializer(serializers.Serializer[Any]):
    seconds = serializers.FloatField(allow_null=True)
    seconds_low = serializers.FloatField(allow_null=True)
    seconds_high = serializers.FloatField(allow_null=True)
    time_basis = serializers.CharField(help_text="What the time is known from, and how surely.")
    memory_gib = serializers.FloatField(allow_null=True)
    memory_low = serializers.FloatField(allow_null=True)
    memory_high = serializers.FloatField(allow_null=True)
    memory_basis = serializers.CharField()
    cost = serializers.FloatField(allow_null=True)
    work = serializers.FloatField(allow_null=True)


class RoundSettingsSerializer(serializers.Serializer[Any]):
    preset = serializers.CharField()
    config = serializers.DictField(help_text="What was chosen in place of the preset's settings.")
    settings = serializers.DictField(help_text="All settings that a round would have.")
    differs = serializers.DictField(help_text="Settings that are not the engine's defaults.")
    optimiser_advised = serializers.CharField()
    estimate = RoundEstimateSerializer()


def by_field(problems: Mapping[str, str]) -> dict[str, list[str]]:
    """Refused settings as fields of the request."""
    own = ("preset", "policy")
    return {name if name in own else f"config.{name}": [text] for name, text in problems.items()}


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(methods=["GET"], operation_id="round_settings", responses=RoundSettingsSerializer)
@extend_schema(
    methods=["PUT"],
    operation_id="save_round_settings",
    request=RoundChoiceSerializer,
    responses={200: RoundSettingsSerializer, 400: OpenApiResponse(description="A bad value.")},
)
@api_view(["GET", "PUT"])
def round_settings_call(request: Request, slug: str) -> Response:
    """Settings of rounds to come, those that start by themselves too. PUT saves them (admins)."""
    if request.method == "GET":
        project = exchange.project_or_404(request, slug, "reviewer")
        return Response(_settings(project, round_settings.saved(project)))
    project = exchange.project_or_404(request, slug, "admin")
    choice = _choice(request, project)
    told = _settings(project, choice)
    round_settings.save(project, choice)
    return Response(told)


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(
    operation_id="estimate_round",
    request=RoundChoiceSerializer,
    responses={200: RoundSettingsSerializer, 400: OpenApiResponse(description="A bad value.")},
)
@api_view(["POST"])
def round_estimate(request: Request, slug: str) -> Response:
    """Check the settings of a round and estimate what it would need. Starts and saves nothing."""
    project = exchange.project_or_404(request, slug, "admin")
    return Response(_settings(project, _choice(request, project)))


def _choice(request: Request, project: exchange.Project) -> Choice:
    given = RoundChoiceSerializer(data=request.data)
    given.is_valid(raise_exception=True)
    return given.choice(project)


def _settings(project: exchange.Project, choice: Choice) -> dict[str, Any]:
    try:
        whole = round_settings.resolve(project, choice)
    except SettingsRefused as error:
        raise serializers.ValidationError(by_field(error.problems)) from error
    told = differing(to_dict(RoundConfig()), whole)
    data = {
        "preset": choice.preset,
        "config": choice.config,
        "settings": whole,
        "differs": {name: now for name, (_, now) in told.items()},
        "optimiser_advised": round_settings.usual_optimiser(project),
        "estimate": expected_cost.estimate(project, whole).record(),
    }
    return dict(RoundSettingsSerializer(data).data)
