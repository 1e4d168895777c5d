"""Completions that people are spared: loops, gibberish and replies that were cut, while others are
left to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from training.rlhf.metrics.texts.broken_replies import fault
from training.rlhf.rows import Completion

UNREADABLE = ("looping", "gibberish")
CUT = "truncated"
"""Ended by the limit of its length: which of two is better, its end would have told."""


def readable(
    kept: Sequence[Completion],
    *,
    spared: Container[str],
    faults: Container[str] = UNREADABLE,
) -> list[Completion]:
    """Drop what nobody can judge, loops and gibberish, while two others are left to compare.

    A prompt with fewer keeps its faulty ones, or a policy that is bad through and through could
    never be voted better.

    Args:
        spared: prompts of blind comparisons, which would flatter a policy without its failures.
        faults: those of what is dropped.
    """
    good = [completion for completion in kept if fault_of(completion) not in faults]
    enough = {prompt for prompt, n in Counter(c.prompt_id for c in good).items() if n >= 2}
    sound = {completion.key for completion in good}
    return [
        completion
        for completion in kept
        if completion.key in sound
        or completion.prompt_id in spared
        or completion.prompt_id not in enough
    ]


def comparable(replies: Sequence[Completion]) -> list[Completion]:
    """Those of a prompt's replies that people compare: all that ended by themselves, and of those
    that were cut no more than make up a pair."""
    whole = [one for one in replies if one.finish_reason != "length"]
    cut = [one for one in replies if one.finish_reason == "length"]
    return whole + cut[: max(0, 2 - len(whole))]


def fault_of(completion: Completion) -> str:
    """Its fault by the text alone, "" without one (metrics.texts.broken_replies)."""
    return fault(completion.text, finished=completion.finish_reason == "stop")
