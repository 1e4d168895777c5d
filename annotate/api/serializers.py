"""The bodies of the annotation calls, checked on the way in and described on the way out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, get_args

from drf_spectacular.extensions import OpenApiSerializerExtension
from rest_framework import serializers

from annotate import queue
from annotate.models import Assignment
from annotate.models.assignment import MAX_STRENGTH, ScreenChoice
from annotate.votes.scales import FLAGS

COMPARED = ("left", "right", "tie")
SCREEN_CHOICES = get_args(ScreenChoice)


class StrictCharField(serializers.CharField):
    """Text only: DRF would turn numbers and booleans into text."""

    def __init__(self, **options: Any) -> None:
        if not options.get("allow_blank"):
            # DRF refuses an empty text anyway; so the schema says it, too.
            options.setdefault("min_length", 1)
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("Must be text.")
        return super().to_internal_value(data)


class StrictIntegerField(serializers.IntegerField):
    """Whole numbers only: DRF would read "2" and true as numbers."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("Must be a whole number.")
        return super().to_internal_value(data)


class StrictFloatField(serializers.FloatField):
    """Numbers only, as a database holds them: DRF would read "2" and true as numbers."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            raise serializers.ValidationError("Must be a number.")
        if not abs(data) <= sys.float_info.max:
            raise serializers.ValidationError("The number is too large.")
        return float(data)


class KnownFieldsOnly(serializers.Serializer[Any]):
    """A misspelt field is an error, not a silent default."""

    def to_internal_value(self, data: Any) -> Any:
        # Inside another body it may be anything; what is no object is refused as such.
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else ()
        if unknown:
            names = {name[:40]: ["There is no such field."] for name in unknown[:10]}
            raise serializers.ValidationError(names)
        return super().to_internal_value(data)


class KnownFieldsOnlySchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]  # drf-spectacular registers it untyped.
    """Says the same in the OpenAPI schema."""

    target_class = KnownFieldsOnly
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


class NextRequest(KnownFieldsOnly):
    after = serializers.UUIDField(
        required=False,
        allow_null=True,
        help_text="Token of a lease you hold: lease one more, to prefetch it.",
    )


def _milliseconds(help_text: str) -> StrictIntegerField:
    return StrictIntegerField(
        required=False, allow_null=True, min_value=0, max_value=2**31 - 1, help_text=help_text
    )


def _criteria(**options: Any) -> serializers.DictField:
    return serializers.DictField(
        child=serializers.ChoiceField(choices=COMPARED),
        help_text="For the project's criteria by name: left, right or tie, of those that were "
        "compared. A vote without any is kept, and its criteria are marked as unasked.",
        **options,
    )


def _reasons(**options: Any) -> serializers.ListField:
    return serializers.ListField(child=StrictCharField(max_length=80), max_length=20, **options)


class VoteRequest(KnownFieldsOnly):
    choice = serializers.ChoiceField(
        choices=SCREEN_CHOICES, help_text="tie only where the project's scale has one."
    )
    strength = StrictIntegerField(
        min_value=0,
        max_value=MAX_STRENGTH,
        default=2,
        help_text="1 slightly, 2 clearly, 3 much, and 0 negligibly on the scale of four strengths; "
        "2 is on every scale. Ignored for tie and both_bad.",
    )
    reasons = _reasons(default=list)
    comment = StrictCharField(allow_blank=True, max_length=4000, default="")
    criteria = _criteria(default=dict)
    active_ms = _milliseconds("How long the pair was looked at.")
    first_key_ms = _milliseconds("From the pair's appearance to the first key or touch.")
    wall_ms = _milliseconds("From the pair's appearance to the vote, pauses included.")
    input = serializers.ChoiceField(
        choices=("", "key", "click", "touch"), default="", help_text="What the vote came by."
    )

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and data.get("choice") in ("tie", "both_bad"):
            # Ignored means whatever it is: clients send 0 or null with a tie.
            data = {name: value for name, value in data.items() if name != "strength"}
        return super().to_internal_value(data)


class SkipRequest(KnownFieldsOnly):
    reason = StrictCharField(
        allow_blank=True,
        max_length=40,
        default="",
        help_text="hard, broken, identical, unsafe or other; any other text is kept as it is.",
    )


class RemarkRequest(KnownFieldsOnly):
    """Fields that are left out stay as they are."""

    reasons = _reasons(required=False)
    comment = StrictCharField(allow_blank=True, max_length=4000, required=False)
    criteria = _criteria(required=False)


class FlagRequest(KnownFieldsOnly):
    kind = serializers.ChoiceField(choices=list(FLAGS.items()))


class MessageBody(serializers.Serializer[Any]):
    """One turn of a chat."""

    role = serializers.CharField(help_text="system, developer, user, assistant or tool.")
    content = serializers.CharField(allow_blank=True)
    name = serializers.CharField(required=False)
    tool_calls = serializers.ListField(child=serializers.DictField(), required=False)
    tool_call_id = serializers.CharField(required=False)
    thinking = serializers.CharField(required=False)
    parts = serializers.ListField(
        required=False, help_text="Content parts where some are no text; `content` has the texts."
    )


class ReplyBody(serializers.Serializer[Any]):
    text = serializers.CharField(help_text="The reply; of several turns, one after the other.")
    messages = MessageBody(
        many=True, required=False, help_text="The turns of a reply that is more than one text."
    )
    cut = serializers.BooleanField(
        required=False, help_text="True of a reply that ended at the limit of its length."
    )


class PairBody(serializers.Serializer[Any]):
    """One leased pair. Never a model, a score or a completion's id."""

    assignment = serializers.UUIDField(help_text="The token to vote with.")
    expires_at = serializers.DateTimeField()
    pair = serializers.IntegerField()
    prompt = MessageBody(many=True)
    tools = serializers.ListField(
        required=False, help_text="What the assistant may call, where the prompt says so."
    )
    left = ReplyBody()
    right = ReplyBody()


class VoteBody(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=("stored", "replayed", "surplus"))
    next = PairBody(allow_null=True)


class SkipBody(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=("skipped",))
    next = PairBody(allow_null=True)


class RemarkBody(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=("stored",))


class FlagBody(serializers.Serializer[Any]):
    new = serializers.BooleanField(help_text="False when you had given this warning before.")


class ErrorBody(serializers.Serializer[Any]):
    """The members of every error (annotate.api.protocol.problem_details)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]  # A serializer's own name.
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="Sentences by the name of the field or parameter that they are about.",
    )


class HeldUpBody(ErrorBody):
    code = serializers.ChoiceField(choices=("paused", "guidelines", "qualification"))


def pair_body(assignment: Assignment) -> dict[str, Any]:
    """The body that `PairBody` describes."""
    screen = queue.shown(assignment)
    tools = {"tools": screen["tools"]} if screen["tools"] else {}
    return {
        "assignment": str(assignment.token),
        "expires_at": assignment.expires_at,
        "pair": assignment.pair_id,
        "prompt": screen["prompt"],
        **tools,
        "left": _reply(screen, "left"),
        "right": _reply(screen, "right"),
    }


def _reply(screen: dict[str, Any], side: str) -> dict[str, Any]:
    messages = screen[f"{side}_messages"]
    cut = {"cut": True} if screen[f"{side}_cut"] else {}
    return {"text": screen[side], **cut, **({"messages": messages} if messages else {})}
