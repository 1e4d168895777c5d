"""REST: the schedule of rounds that start by themselves, and events of the loop."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.forms import model_to_dict
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from annotate import exchange
from training.models import LoopEvent, LoopSchedule
from training.rounds import schedule_limits
from training.rounds.schedule_form import ScheduleForm

LATEST = 100
BOUNDS = ("zone", "quiet_from", "quiet_until", "most_rounds", "most_hours", "stop_after")


@extend_schema_field({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"})
class ClockField(serializers.TimeField):
    """A time on the clock of the schedule's zone, such as 22:30.

    OpenAPI's format `time` has an offset, which would contradict the zone: one is refused, where
    the field of Django would leave it out in silence.
    """

    def __init__(self, **told: Any) -> None:
        super().__init__(format="%H:%M:%S", input_formats=["%H:%M", "%H:%M:%S"], **told)


class ScheduleFields(serializers.ModelSerializer[LoopSchedule]):
    """Triggers and bounds, as the page Schedule has them."""

    round_after = serializers.IntegerField(help_text="Resolved pairs that start a round; 0: never.")
    round_schedule = serializers.CharField(allow_blank=True, help_text="A cron line.")
    quiet_from = ClockField(allow_null=True, required=False)
    quiet_until = ClockField(allow_null=True, required=False)

    class Meta:
        model = LoopSchedule
        fields = ("round_after", "round_schedule", *BOUNDS)


class EventBody(serializers.ModelSerializer[LoopEvent]):
    round = serializers.IntegerField(source="round.number", allow_null=True, default=None)

    class Meta:
        model = LoopEvent
        fields = ("kind", "text", "round", "at")


class ScheduleBody(ScheduleFields):
    paused = serializers.BooleanField()
    held = serializers.CharField(
        help_text="Why no round would start by itself now; empty if one may."
    )
    rounds = serializers.IntegerField(help_text="Begun in the last seven days.")
    hours = serializers.FloatField(help_text="Of training in the last seven days.")
    events = EventBody(many=True, help_text=f"The latest {LATEST}, the newest first.")

    class Meta(ScheduleFields.Meta):
        fields = (  # type: ignore[assignment]  # Longer.
            *ScheduleFields.Meta.fields,
            *("paused", "held", "rounds", "hours", "events"),
        )


class ScheduleChange(ScheduleFields):
    """Fields that are left out stay as they are."""

    paused = serializers.BooleanField(required=False)

    class Meta(ScheduleFields.Meta):
        fields = (*ScheduleFields.Meta.fields, "paused")  # type: ignore[assignment]  # Longer.


@exchange.needs_scope(exchange.TokenScope.ADMIN)
@extend_schema(methods=["GET"], operation_id="schedule", responses=ScheduleBody)
@extend_schema(
    methods=["PATCH"],
    operation_id="change_schedule",
    request=ScheduleChange,
    responses=ScheduleBody,
)
@api_view(["GET", "PATCH"])
def schedule(request: Request, slug: str) -> Response:
    """The schedule of rounds that start by themselves, with the latest events (reviewers).

    PATCH changes it (admins).
    """
    role = "admin" if request.method == "PATCH" else "reviewer"
    project = exchange.project_or_404(request, slug, role)
    if request.method == "PATCH":
        _change(request, project)
    return Response(_body(project))


def _change(request: Request, project: exchange.Project) -> None:
    asked = ScheduleChange(data=request.data, partial=True)
    asked.is_valid(raise_exception=True)
    if unknown := sorted(set(request.data) - set(asked.fields)):
        raise serializers.ValidationError(dict.fromkeys(unknown, "There is no such field."))
    said = dict(asked.validated_data)
    paused = said.pop("paused", None)
    kept = schedule_limits.schedule_of(project)
    stays = model_to_dict(kept, BOUNDS) | {
        "round_after": project.round_after,
        "round_schedule": project.round_schedule,
        "mail_to": list(kept.mail_to.values_list("pk", flat=True)) if kept.pk else [],
    }
    form = ScheduleForm(stays | said, instance=kept, project=project)
    if not form.is_valid():
        raise serializers.ValidationError(
            {name: [str(said) for said in one] for name, one in form.errors.items()}
        )
    schedule_limits.save(project, form, site=exchange.public_url(request).rstrip("/"))
    if paused is not None:
        assert isinstance(request.user, User), "only who signed in has a role"
        change = schedule_limits.pause if paused else schedule_limits.resume
        change(project, f"By {request.user.username}.")


def _body(project: exchange.Project) -> dict[str, Any]:
    kept, now = schedule_limits.schedule_of(project), timezone.now()
    rounds, hours = schedule_limits.spent(project, now)
    events = LoopEvent.objects.filter(project=project).select_related("round")[:LATEST]
    kept.round_after, kept.round_schedule = project.round_after, project.round_schedule  # type: ignore[attr-defined]
    return {
        **ScheduleFields(kept).data,
        "paused": kept.paused_at is not None,
        "held": schedule_limits.held(project, now),
        "rounds": rounds,
        "hours": round(hours, 3),
        "events": EventBody(events, many=True).data,
    }
