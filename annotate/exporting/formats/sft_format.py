"""Format `sft`: a prompt and the completion to learn from.

The completions that won are fixed by the version. The part `rewrites` holds the better answers
that people wrote beside votes of the version, as they stand now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from annotate.exporting.formats import trl_format
from annotate.models import DatasetVersion, Pair, Rewrite
from annotate.votes.export_values import line

PARTS = {
    "sft": "the completions that won",
    "rewrites": "the better answers people wrote as they stand now",
}
DROPPED = ("rejected", "rejected_id", "margin", "vote_fraction")


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Winning completions, and better answers that people wrote."""
    won = trl_format.counts(version, include_simulated=include_simulated)["trl"]
    return {"sft": won, "rewrites": _rewrites(version).count()}


def lines(
    version: DatasetVersion, *, part: str = "sft", include_simulated: bool
) -> Iterator[bytes]:
    """JSON lines of the winning completions, or (part `rewrites`) of the better answers."""
    if part == "rewrites":
        return (
            line(_written(one)) for one in _rewrites(version).iterator(chunk_size=trl_format.BATCH)
        )
    return _winners(version, include_simulated)


def _winners(version: DatasetVersion, include_simulated: bool) -> Iterator[bytes]:
    for one, pair in trl_format.with_texts(version, include_simulated):
        row = trl_format.preference(one, pair)
        kept = {name: value for name, value in row.items() if name not in DROPPED}
        kept["completion"] = kept.pop("chosen")
        kept["completion_id"] = kept.pop("chosen_id")
        yield line(kept)


def _rewrites(version: DatasetVersion) -> QuerySet[Rewrite]:
    rewrites = Rewrite.objects.filter(
        assignment__pair__project=version.project,
        assignment__state="voted",
        assignment__frozen_from__lte=version.number,
    ).exclude(assignment__pair__kind__in=Pair.OUTSIDE_LABELS)
    return rewrites.select_related("assignment__pair__prompt").order_by("pk")


def _written(one: Rewrite) -> dict[str, Any]:
    pair = one.assignment.pair
    held_out = pair.prompt.held_out or pair.kind == Pair.Kind.EVALUATION
    return {
        "prompt": trl_format.prompt_text(pair.prompt.messages),
        "completion": one.text,
        "split": "test" if held_out else "train",
        "pair_id": pair.key,
        "prompt_id": pair.prompt.sha256,
        "based_on": one.based_on,
    }
