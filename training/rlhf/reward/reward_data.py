"""The training data of a reward model: pairs with votes or rated replies, and which it may see."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from training.rlhf import rows
from training.rlhf.config import ConfigError, RewardConfig, require
from training.rlhf.data import soft_labels
from training.rlhf.language import reward_tokens
from training.rlhf.language.reward_tokens import Reader, Text
from training.rlhf.rows import Preference, Rating

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
    tie: float = 0.0
    strength: float = 0.0

    @property
    def texts(self) -> tuple[Text, ...]:
        return self.first, self.second


@dataclass(frozen=True)
class Rated:
    """One reply to learn a rating of; `value` is standardised."""

    prompt_id: str
    text: Text
    value: float
    weight: float = 1.0

    @property
    def texts(self) -> tuple[Text, ...]:
        return (self.text,)


Item = Example | Rated
SomeItem = TypeVar("SomeItem", Example, Rated)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the ratings that were learnt."""

    mean: float
    deviation: float


def examples(
    preferences: Iterable[Preference], read: Reader, *, soft: bool = False
) -> list[Example]:
    """Pairs that may be trained on: with votes, and never held out.

    Value and weight are those of soft_labels.label: the votes' share for the first, each vote
    counted with its weight and strength; a reviewer's answer instead where there is one; with
    `soft` the aggregated P(a) + P(tie) / 2 where known.
    """
    pairs = []
    for row in preferences:
        label = soft_labels.label(row, soft=soft)
        if row.held_out or row.kind == "evaluation" or label is None:
            continue
        texts = [read(row.messages, text) for text in (row.completion_a, row.completion_b)]
        pairs.append(Example(row.prompt_id, texts[0], texts[1], **dataclasses.asdict(label)))
    return pairs


def decided(pairs: Sequence[Example]) -> list[Example]:
    """The pairs whose texts differ, when anything can be learnt from them.

    Of two texts that are the same tokens, at least after the cut to the model's length, nothing is
    learnt: their scores are equal whatever the weights.

    Raises:
        ConfigError: no pair with votes, or every one a tie or of equal texts.
    """
    different = [pair for pair in pairs if pair.first.ids != pair.second.ids]
    ties = sum(example.value == 0.5 for example in different)
    equal = len(pairs) - len(different)
    require_direction(len(different) - ties, ties, "reward model", equal=equal)
    return different


def rated(ratings: Iterable[Rating], read: Reader) -> tuple[list[Rated], Spread]:
    """Replies that may be trained on, with standardised scores.

    Raises:
        ConfigError: fewer than two of them, or all scores equal.
    """
    kept = [row for row in ratings if not row.held_out]
    scores = np.array([row.score for row in kept], dtype=np.float64)
    different = len(np.unique(scores))
    if different < 2:
        raise ConfigError(
            f"{len(kept)} rated replies with {different} different scores are not enough to train"
            " the reward model on"
        )
    spread = Spread(float(scores.mean()), float(scores.std()))
    replies = [
        Rated(
            row.prompt_id,
            read(row.messages, row.completion),
            (row.score - spread.mean) / spread.deviation,
        )
        for row in kept
    ]
    return replies, spread


def bootstrap(items: Sequence[SomeItem], *, seed: int) -> list[SomeItem]:
    """Resample the prompts with replacement; an item counts as often as its prompt was drawn."""
    prompts = sorted({item.prompt_id for item in items})
    rng = np.random.default_rng([seed, 2])
    drawn = np.bincount(rng.integers(len(prompts), size=len(prompts)), minlength=len(prompts))
    times = dict(zip(prompts, drawn.tolist(), strict=True))
    return [
        dataclasses.replace(item, weight=item.weight * times[item.prompt_id])
        for item in items
        if times[item.prompt_id]
    ]


def bootstraps(items: Sequence[Item], heads: int, *, seed: int) -> dict[str, list[float]]:
    """Times that each prompt was drawn for each head of an ensemble, with replacement."""
    prompts = sorted({item.prompt_id for item in items})
    rng = np.random.default_rng([seed, 6])
    size = len(prompts)
    drawn = [np.bincount(rng.integers(size, size=size), minlength=size) for _ in range(heads)]
    times = np.array(drawn, dtype=np.float64).T.tolist()
    return dict(zip(prompts, times, strict=True))


def passes(batch: Sequence[SomeItem], *, tokens: int) -> list[list[SomeItem]]:
    """Cut a batch into forward passes of at most `tokens` tokens with padding (or of one item).

    Similar lengths come together, so that little is padding.
    """
    batches: list[list[SomeItem]] = []
    widest = 0
    for item in sorted(batch, key=lambda item: reward_tokens.cells(item.texts), reverse=True):
        if not batches or widest * (len(batches[-1]) + 1) > tokens:
            batches.append([])
            widest = reward_tokens.cells(item.texts)
        batches[-1].append(item)
    return batches


def split(items: list[SomeItem], config: RewardConfig) -> tuple[list[SomeItem], list[SomeItem]]:
    """Training items and the slice for early stopping, apart by prompt."""
    if not config.early_stopping or config.linear_probe:
        return items, []
    inside = [rows.is_held_out(SLICE_SALT + i.prompt_id, config.slice_share) for i in items]
    if sum(inside) < MIN_SLICE or all(inside):
        return items, []
    train = [item for item, held in zip(items, inside, strict=True) if not held]
    return train, [item for item, held in zip(items, inside, strict=True) if held]


def require_direction(decided: int, ties: int, learner: str, *, equal: int = 0) -> None:
    """Raise ConfigError where nothing says which reply is better.

    Args:
        decided: how many pairs say it.
        ties: how many say that neither is.
        equal: how many have two replies of the same tokens.
    """
    require(decided + ties + equal > 0, f"no pair with votes to train the {learner} on")
    reason = f"all {ties} pairs with votes are ties"
    if equal:
        reason = f"{equal} pairs have the same tokens on both sides at this maximum length"
        reason += f" and {ties} are ties" if ties else ""
    require(decided > 0, f"{reason}: nothing says which reply is better")
