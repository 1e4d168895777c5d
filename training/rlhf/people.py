"""People as judges of a comparison: blind pairs to vote on, and their votes back as points.

The pairs go out and come back as texts: who wrote a side stands in the file for whoever imports it
and is shown to nobody, and votes are known again by the texts they are on. Torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from training.rlhf import rows
from training.rlhf.measures import Answer
from training.rlhf.rows import Message, Preference

Key = tuple[str, str, str]
"""A prompt and two replies to it, as text."""


def blind_pairs(answers: Mapping[str, Sequence[Answer]]) -> Iterator[dict[str, Any]]:
    """Pairs of every model with the first, for people: rows that `manage.py import_data` takes.

    The sides are drawn by a hash of prompt and model. Equal replies are no pair.
    """
    first, *others = answers
    for name in others:
        for mine, base in zip(answers[name], answers[first], strict=True):
            if mine.text.split() != base.text.split() and mine.text.strip() and base.text.strip():
                swap = rows.is_held_out(f"{mine.prompt_id} {name}", 0.5)
                a, b = (base, mine) if swap else (mine, base)
                yield {
                    "prompt": mine.messages,
                    "completion_a": a.text,
                    "completion_b": b.text,
                    "model_a": a.model,
                    "model_b": b.model,
                    "tags": list(mine.tags),
                }


def points(
    votes: Iterable[Preference], mine: Sequence[Answer], base: Sequence[Answer]
) -> list[float | None]:
    """1 where most people prefer a model's reply to the first one's, 0 where the other, 1/2 for a
    tie; None where nobody voted on the two."""
    values: dict[Key, float] = {}
    for pair in votes:
        if pair.votes or pair.decided:
            value = {"a": 1.0, "b": 0.0, None: 0.5}[rows.verdict(pair)]
            there, back = pair.completion_a, pair.completion_b
            values[_key(pair.messages, there, back)] = value
            values[_key(pair.messages, back, there)] = 1 - value
    return [
        values.get(_key(one.messages, one.text, other.text))
        for one, other in zip(mine, base, strict=True)
    ]


def _key(messages: Sequence[Message], one: str, other: str) -> Key:
    return json.dumps(messages, sort_keys=True), one.strip(), other.strip()
