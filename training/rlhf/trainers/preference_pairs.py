"""Preferences as policies learn from them: the better and the worse reply, as tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf import rows
from training.rlhf.data import soft_labels
from training.rlhf.language import chat_template
from training.rlhf.reward.reward_data import require_direction
from training.rlhf.rows import Preference


@dataclass(frozen=True)
class Pair:
    """Tokens of a prompt and of two replies with their ends."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


@dataclass(frozen=True)
class Pairs:
    """Pairs to learn from, and what was left out or cut."""

    decided: list[Pair]
    ties: int
    """Pairs whose votes prefer neither side: they say nothing about a direction."""
    equal: int
    """Pairs whose replies are the same tokens, at least after the cut: their gradient is 0."""
    truncated: int
    """Pairs that lost tokens to the maximum length, of those learnt from."""


def read(tokenizer: Tokenizer, preferences: Iterable[Preference], *, max_length: int) -> Pairs:
    """Pairs with a decided label (see soft_labels.label) that are not held out and whose replies
    still differ at `max_length` tokens.

    Raises:
        ConfigError: there is none.
    """
    pairs, ties, equal, truncated = [], 0, 0, 0
    for row in preferences:
        label = soft_labels.label(row)
        if row.held_out or row.kind == "evaluation" or label is None:
            continue
        if label.value == 0.5:
            ties += 1
            continue
        better, worse = row.completion_a, row.completion_b
        if label.value < 0.5:
            better, worse = worse, better
        pair, cut = _pair(tokenizer, row.messages, better, worse, max_length=max_length)
        if pair.chosen == pair.rejected:
            equal += 1
            continue
        pairs.append(pair)
        truncated += cut
    require_direction(len(pairs), ties, "policy", equal=equal)
    return Pairs(pairs, ties, equal, truncated)


def _pair(
    tokenizer: Tokenizer, messages: list[rows.Message], better: str, worse: str, *, max_length: int
) -> tuple[Pair, bool]:
    """Tokens of one pair, and whether any were cut: from the left of the prompt, which both replies
    share; only a reply that is too long on its own loses some from its right."""
    end = chat_template.turn_end(tokenizer)
    prompt = chat_template.prompt_ids(tokenizer, messages)
    replies = [chat_template.completion_ids(tokenizer, text) for text in (better, worse)]
    kept = [reply[: max_length - 2] for reply in replies]  # the end, and a token of the prompt
    room = max_length - 1 - max(map(len, kept))
    cut = kept != replies or len(prompt) > room
    return Pair(prompt[-room:], [*kept[0], end], [*kept[1], end]), cut
