"""Names of people in the texts of the loop, taken out when somebody is erased."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Value
from django.db.models.functions import Replace

from training.models import Decision, LoopEvent, LoopSchedule, ModelVersion

TEXTS = (
    (ModelVersion, "note"),
    (Decision, "note"),
    (LoopEvent, "text"),
    (LoopSchedule, "paused_because"),
)
"""Columns that say who did something by hand: "Promoted by ada: ...", "By ada."."""


def take_out_name(sender: object, old: str, new: str, **rest: object) -> None:
    """Write the account's new name for the old one, and not for names that only begin alike."""
    for model, column in TEXTS:
        text: Any = F(column)
        for by in ("by", "By"):
            for end in (".", ":"):
                text = Replace(text, Value(f"{by} {old}{end}"), Value(f"{by} {new}{end}"))
        model.objects.filter(**{f"{column}__icontains": f"by {old}"}).update(**{column: text})
