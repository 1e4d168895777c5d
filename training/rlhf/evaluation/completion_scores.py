"""Scores of the completions of a file, by a reward model or a Python function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.rlhf import rows
from training.rlhf.data.data_files import Chat
from training.rlhf.metrics.texts import diversity_and_refusals
from training.rlhf.reward.score_functions import Score
from training.rlhf.rows import Rating
from training.rlhf.run.work import Work


def score_file(
    chats: Sequence[Chat],
    score: Score,
    out: Path,
    work: Work,
    *,
    batch_size: int,
) -> dict[str, float]:
    """Write `out`/scores.jsonl, one rating per chat, as `reward` learns them.

    Args:
        chats: each ends with the completion to score.
        work: told and asked between batches.

    Returns:
        replies (their number), score_mean, score_min, score_max.
    """
    ratings: list[Rating] = []
    for start in range(0, len(chats), batch_size):
        part = chats[start : start + batch_size]
        asked, replies = [c.messages[:-1] for c in part], [c.messages[-1]["content"] for c in part]
        for chat, value in zip(part, score(list(asked), replies), strict=True):
            ratings.append(
                Rating(
                    prompt_id=chat.prompt_id,
                    messages=chat.messages[:-1],
                    completion=chat.messages[-1]["content"],
                    score=value,
                    held_out=chat.held_out,
                )
            )
        work.guard()
        work.report(len(ratings), len(chats), {})
    rows.write(out / "scores.jsonl", ratings)
    values = [rating.score for rating in ratings]
    return {
        "replies": float(len(ratings)),
        "score_mean": diversity_and_refusals.mean(values),
        "score_min": min(values),
        "score_max": max(values),
    }
