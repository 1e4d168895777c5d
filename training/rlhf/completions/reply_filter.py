"""Completions that people are spared: loops and gibberish, while others are left to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

from training.rlhf.metrics.reply_faults import fault
from training.rlhf.rows import Completion

UNREADABLE = ("looping", "gibberish")


def readable(kept: Sequence[Completion], *, spared: Container[str]) -> list[Completion]:
    """Drop what nobody can judge: loops and gibberish, while two others are left to compare.

    A prompt with fewer keeps its faulty ones, or a policy that is bad through and through could
    never be voted better. Truncated replies stay: that a reply should end is worth a vote.

    Args:
        spared: prompts of blind comparisons, which would flatter a policy without its failures.
    """
    good = [completion for completion in kept if fault_of(completion) not in UNREADABLE]
    enough = {prompt for prompt, n in Counter(c.prompt_id for c in good).items() if n >= 2}
    sound = {completion.key for completion in good}
    return [
        completion
        for completion in kept
        if completion.key in sound
        or completion.prompt_id in spared
        or completion.prompt_id not in enough
    ]


def fault_of(completion: Completion) -> str:
    """Its fault by the text alone, "" without one (metrics.reply_faults)."""
    return fault(completion.text, finished=completion.finish_reason == "stop")
