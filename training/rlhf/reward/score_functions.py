"""Functions that score replies: one reward model, several of them, or a rule in Python."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from training.rlhf import rows
from training.rlhf.config import ConfigError
from training.rlhf.language.chat_template import Message
from training.rlhf.rows import Prompt

Messages = Sequence[Message]
Score = Callable[[list[Messages], list[str]], list[float]]
"""Chats and replies to one number each."""


@dataclass(frozen=True)
class Scale:
    """Mean and spread of the scores of the starter's replies.

    Scores reach PPO as (score - mean) / deviation, so that KL coefficients mean the same in every
    round, whatever the scale of this round's reward model.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Sequence[float]) -> Scale:
        values = torch.tensor(scores, dtype=torch.float64)
        return cls(float(values.mean()), max(float(values.std(correction=0)), 1e-3))

    def apply(self, score: Score) -> Score:
        def scaled(chats: list[Messages], replies: list[str]) -> list[float]:
            return [(value - self.mean) / self.deviation for value in score(chats, replies)]

        return scaled


def conservative(scores: Sequence[Score], *, penalty: float) -> Score:
    """The mean of several scores of one scale, minus `penalty` times their deviation.

    Where the models disagree they have seen too few votes, and a policy that climbs their mean
    finds such places first (Coste et al. 2024, arXiv 2310.02743, section 4: uncertainty-weighted
    optimisation). With one score this is that score.
    """

    def combined(chats: list[Messages], replies: list[str]) -> list[float]:
        each = torch.tensor([score(chats, replies) for score in scores])
        joined: list[float] = (each.mean(0) - penalty * each.std(0, correction=0)).tolist()
        return joined

    return combined


def weighted(parts: Sequence[tuple[Score, float]]) -> Score:
    """The sum of several scores, each times its weight."""

    def combined(chats: list[Messages], replies: list[str]) -> list[float]:
        each = [[weight * one for one in score(chats, replies)] for score, weight in parts]
        return [float(sum(row)) for row in zip(*each, strict=True)]

    return combined


def with_columns(function: Callable[..., Any], prompts: Sequence[Prompt]) -> Score:
    """A function that takes `columns` gets those of each chat's row beside chats and replies: a
    mapping of the further columns of its file, its `reference` and its `tags`."""
    try:
        takes = inspect.signature(function).parameters
    except ValueError:  # built in
        takes = {}  # type: ignore[assignment]  # nothing is looked up but a name
    if "columns" not in takes:
        return function
    by_chat = {
        _spelt(prompt.messages): {
            **prompt.columns,
            "reference": prompt.reference,
            "tags": list(prompt.tags),
        }
        for prompt in prompts
    }

    def scored(chats: list[Messages], replies: list[str]) -> list[float]:
        columns = [by_chat.get(_spelt(chat), {}) for chat in chats]
        scores: list[float] = function(chats, replies, columns=columns)
        return scores

    return scored


def _spelt(chat: Messages) -> str:
    return json.dumps([dict(message) for message in chat], sort_keys=True)


def from_path(path: str) -> Score:
    """The function that `package.module:name` names; it takes chats and replies, and may take
    columns (see `with_columns`).

    The path stands in a file that its author runs, as a Python file would.

    Raises:
        ConfigError: there is no such function.
    """
    module, _, name = path.partition(":")
    try:
        function: Score = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"reward_function {path}: {error}") from error
    if not callable(function):
        raise ConfigError(f"reward_function {path} is no function")
    return function


def source_digest(score: Score) -> str:
    """A hash of the file that a function was read from; "" where there is none."""
    try:
        file = inspect.getsourcefile(score if inspect.isroutine(score) else type(score))
    except TypeError:  # built in
        file = None
    return rows.sha256(file) if file else ""
