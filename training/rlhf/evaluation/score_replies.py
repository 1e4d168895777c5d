"""A judger: chats with replies in, one scalar preference score each out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.rlhf import rows
from training.rlhf.data.data_files import Chat
from training.rlhf.metrics import text_metrics
from training.rlhf.reward.score_functions import Score
from training.rlhf.rows import Rating
from training.rlhf.run.work import Work


def run(
    chats: Sequence[Chat],
    score: Score,
    out: Path,
    work: Work,
    *,
    batch_size: int,
) -> dict[str, float]:
    """Write `out`/scores.jsonl, ratings as `reward` learns them; how many, and their mean.

    Args:
        work: told and asked between batches.
    """
    found: list[Rating] = []
    for start in range(0, len(chats), batch_size):
        part = chats[start : start + batch_size]
        asked, replies = [c.messages[:-1] for c in part], [c.messages[-1]["content"] for c in part]
        for chat, value in zip(part, score(list(asked), replies), strict=True):
            found.append(
                Rating(
                    prompt_id=chat.prompt_id,
                    messages=chat.messages[:-1],
                    completion=chat.messages[-1]["content"],
                    score=value,
                    held_out=chat.held_out,
                )
            )
        work.guard()
        work.report(len(found), len(chats), {})
    rows.write(out / "scores.jsonl", found)
    values = [rating.score for rating in found]
    return {
        "replies": float(len(found)),
        "score_mean": text_metrics.mean(values),
        "score_min": min(values),
        "score_max": max(values),
    }
