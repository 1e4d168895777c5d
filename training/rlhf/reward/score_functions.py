"""Functions that score replies: one reward model, several of them, or a rule in Python."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence

import torch

from training.rlhf import rows
from training.rlhf.config import ConfigError
from training.rlhf.language.chat_template import Message

Messages = Sequence[Message]
Score = Callable[[list[Messages], list[str]], list[float]]
"""Chats and replies to one number each."""


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


def from_path(path: str) -> Score:
    """The function that `package.module:name` names; it takes chats and replies.

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
