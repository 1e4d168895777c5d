"""Replies to chats, by a writer: a model in this process or a server.

Torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.rlhf import rows
from training.rlhf.rows import Message
from training.rlhf.run.work import Work

CHUNK_BATCHES = 4
"""Batches between two chances to stop; what a chunk gave is kept on disk."""


@dataclass(frozen=True)
class Settings:
    """Settings of sampling."""

    temperature: float
    max_new_tokens: int
    batch_size: int
    top_p: float = 1.0


@dataclass(frozen=True)
class Reply:
    """One sampled reply."""

    text: str
    ids: list[int]
    """Its tokens; a server that does not tell them leaves them to the policy's tokenizer."""
    finished: bool
    logprobs: list[float]
    """Of the tokens, under what was sampled from. A server tells its own, or none."""
    seed: int
    tokens_in: int = 0
    """Tokens of the chat, as a server counts what it charges for; 0: it does not say."""
    tokens_out: int = 0
    """Tokens of the reply, by the same count."""


class Writer(Protocol):
    """A model that answers chats."""

    def reply(
        self, chats: Sequence[Sequence[Message]], settings: Settings, *, seed: int
    ) -> list[Reply]:
        """One reply to each chat; the same seed gives the same replies."""


def reply_in_chunks(
    writer: Writer,
    chats: Sequence[Sequence[Message]],
    settings: Settings,
    work: Work,
) -> list[Reply]:
    """Reply to any number of chats, keeping finished chunks in the checkpoints.

    Chunk k is sampled with the seed derived from (seed, k), so a resumed call gives what an
    uninterrupted one would.
    """
    size = settings.batch_size * CHUNK_BATCHES
    replies: list[Reply] = []
    work.checkpoints.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(chats), size)):
        file = work.checkpoints / f"replies-{number:05d}.jsonl"
        if not file.exists():
            # Not one stream for all chunks: a resumed call skips those that are on disk.
            chunk_seed = int(np.random.default_rng([work.seed, number]).integers(2**31))
            chunk = writer.reply(chats[start : start + size], settings, seed=chunk_seed)
            work.guard()  # what lost its run meanwhile writes nothing
            rows.write(file, chunk)
        replies += [Reply(**data) for _, data in rows.read_json(file)]
        work.report(len(replies), len(chats), {})
    return replies
