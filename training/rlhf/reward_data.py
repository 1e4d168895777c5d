"""What a reward model learns from: pairs with votes, and which of them it may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from training.rlhf import rows
from training.rlhf.config import RewardConfig
from training.rlhf.reward_model import Reader, Text
from training.rlhf.rows import Preference

SLICE_SALT = "early stopping "
"""Makes the early-stopping slice independent of the held-out split by the same hash."""
MIN_SLICE = 8
"""With fewer pairs than this in the slice its loss says nothing: train all epochs instead."""


@dataclass(frozen=True)
class Example:
    """A pair to learn from: two texts, the share of votes for the first, and their mass."""

    prompt_id: str
    first: Text
    second: Text
    value: float
    weight: float


def examples(
    preferences: Iterable[Preference], read: Reader, *, soft: bool = False
) -> list[Example]:
    """Pairs that may be trained on: with votes, and never held out.

    Value and weight are those of rows.label: the votes' share for the first, each vote counted
    with its weight and strength; a reviewer's answer instead where there is one; with `soft` the
    aggregated P(a) + P(tie) / 2 where known.
    """
    found = []
    for row in preferences:
        label = rows.label(row, soft=soft)
        if row.held_out or row.kind == "evaluation" or label is None:
            continue
        texts = [read(row.messages, text) for text in (row.completion_a, row.completion_b)]
        found.append(Example(row.prompt_id, texts[0], texts[1], label.value, label.weight))
    return found


def bootstrap(found: Sequence[Example], *, seed: int) -> list[Example]:
    """Resample the prompts with replacement; a pair counts as often as its prompt was drawn."""
    prompts = sorted({example.prompt_id for example in found})
    rng = np.random.default_rng([seed, 2])
    drawn = np.bincount(rng.integers(len(prompts), size=len(prompts)), minlength=len(prompts))
    times = dict(zip(prompts, drawn.tolist(), strict=True))
    return [
        Example(e.prompt_id, e.first, e.second, e.value, e.weight * times[e.prompt_id])
        for e in found
        if times[e.prompt_id]
    ]


def split(found: list[Example], config: RewardConfig) -> tuple[list[Example], list[Example]]:
    """Training pairs and the slice for early stopping, apart by prompt."""
    if not config.early_stopping:
        return found, []
    inside = [rows.is_held_out(SLICE_SALT + e.prompt_id, config.slice_share) for e in found]
    if sum(inside) < MIN_SLICE or all(inside):
        return found, []
    train = [example for example, held in zip(found, inside, strict=True) if not held]
    return train, [example for example, held in zip(found, inside, strict=True) if held]
