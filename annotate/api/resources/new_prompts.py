"""New prompts with completions and pairs, as a body says them and as an import stores them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from rest_framework import serializers

from annotate.api.resources.fields import tags
from annotate.api.serializers import (
    KnownFieldsOnly,
    StrictCharField,
    StrictFloatField,
    StrictIntegerField,
)
from annotate.importing.imported_row import Comparison, Rating, Reply, Row
from annotate.importing.limits import MAX_NAME, MAX_TURNS
from annotate.importing.problems import Refused
from annotate.importing.shapes import chats
from annotate.importing.shapes.columns import Cells, text

MOST_PROMPTS = 100
"""More of them come as a file: a request takes its time while nobody sees how far it is."""
MOST_COMPLETIONS = 20
LONGEST_RATING = 80


class NewMessage(KnownFieldsOnly):
    role = serializers.ChoiceField(choices=chats.ROLES)
    content = StrictCharField(allow_blank=True, trim_whitespace=False)
    name = StrictCharField(required=False, max_length=200)
    tool_calls = serializers.ListField(child=serializers.DictField(), required=False)
    tool_call_id = StrictCharField(required=False, max_length=200)
    thinking = StrictCharField(required=False, allow_blank=True, trim_whitespace=False)


class NewCompletion(KnownFieldsOnly):
    text = StrictCharField(trim_whitespace=False)
    model = StrictCharField(
        required=False, allow_blank=True, max_length=MAX_NAME, help_text="That wrote it."
    )
    metadata = serializers.DictField(required=False)
    ratings = serializers.DictField(
        child=StrictFloatField(),
        required=False,
        help_text="Numbers by name: helpfulness, ...; label is 1 for a good reply and 0 for a bad "
        "one.",
    )

    def validate_ratings(self, ratings: dict[str, float]) -> dict[str, float]:
        if any(not 0 < len(name) <= LONGEST_RATING for name in ratings):
            raise serializers.ValidationError(f"A name has 1 to {LONGEST_RATING} characters.")
        return ratings


class NewPrompt(KnownFieldsOnly):
    """A prompt, replies to it, and which of them people compare."""

    messages = serializers.ListField(
        child=NewMessage(),
        min_length=1,
        max_length=MAX_TURNS,
        help_text="The last one not assistant's.",
    )
    completions = serializers.ListField(
        child=NewCompletion(), required=False, max_length=MOST_COMPLETIONS
    )
    pairs = serializers.ListField(
        child=serializers.ListField(
            child=StrictIntegerField(min_value=0, max_value=MOST_COMPLETIONS - 1),
            min_length=2,
            max_length=2,
        ),
        required=False,
        max_length=MOST_COMPLETIONS * (MOST_COMPLETIONS - 1) // 2,
        help_text="Places of two completions, from 0. Without it, every two of them are a pair.",
    )
    reference = StrictCharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="A known answer."
    )
    tags = tags(required=False, help_text="Of the pairs; of the prompt where it has none.")
    metadata = serializers.DictField(required=False)

    def validate_pairs(self, pairs: list[list[int]]) -> list[list[int]]:
        if any(a == b for a, b in pairs):
            raise serializers.ValidationError("A pair compares two completions.")
        return pairs

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        there = len(attrs.get("completions", ()))
        if any(max(pair) >= there for pair in attrs.get("pairs", ())):
            raise serializers.ValidationError({"pairs": f"There are {there} completions."})
        return attrs


class NewPrompts(KnownFieldsOnly):
    prompts = serializers.ListField(child=NewPrompt(), min_length=1, max_length=MOST_PROMPTS)


def imported_rows(prompts: list[dict[str, Any]]) -> list[Row]:
    """The prompts of a body as rows of an import. Raises Refused, with the place in its field."""
    rows = []
    for place, said in enumerate(prompts):
        try:
            rows.append(_row(said))
        except Refused as refused:
            raise Refused(f"{place}.{refused.field}", refused.reason) from refused
    return rows


def _row(said: dict[str, Any]) -> Row:
    cells = Cells({})
    replies = [
        Reply(
            text(one["text"], f"completions.{place}.text"),
            one.get("model", ""),
            ratings=[Rating(*rating) for rating in one.get("ratings", {}).items()],
            metadata=one.get("metadata", {}),
        )
        for place, one in enumerate(said.get("completions", ()))
    ]
    every = [list(pair) for pair in combinations(range(len(replies)), 2)]
    return Row(
        messages=chats.prompt(said["messages"], "messages", cells),
        replies=replies,
        comparisons=[Comparison(a, b) for a, b in said.get("pairs", every)],
        reference=text(said.get("reference", ""), "reference"),
        tags=said.get("tags", []),
        metadata=said.get("metadata", {}),
    )
