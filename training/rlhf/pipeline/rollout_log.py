"""A few replies of every update with their scores, kept for people to read, and each update's pace.

Where a policy learns from a score, the replies it is given are the first to show that it is gamed.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.reward.score_functions import Messages, Score
from training.rlhf.run import ranks
from training.rlhf.run.pace_and_memory import Pace
from training.rlhf.run.work import Work

ROLLOUTS = "rollouts.jsonl"
PER_UPDATE = 3
MOST_UPDATES = 200
"""Of a longer training every second update is kept, or every third."""
MOST_CHARACTERS = 2000


class RolloutLog:
    """Replies of the updates of one training, in its checkpoints and at its end in its folder."""

    def __init__(self, work: Work, *, replies: int) -> None:
        self.file = work.checkpoints / ROLLOUTS
        self._work, self._replies, self._pace = work, replies, Pace()
        self._latest: list[dict[str, Any]] = []

    def watched(self, score: Score) -> Score:
        """The score, which from now on is seen at work."""

        def scored(chats: list[Messages], texts: list[str]) -> list[float]:
            scores = score(chats, texts)
            several = zip(chats[:PER_UPDATE], texts, scores, strict=False)
            self._latest = [_row(*one) for one in several]
            return scores

        return scored

    def work(self) -> Work:
        """The work, whose report writes down the replies of the update that it tells of."""
        return replace(self._work, report=self._report)

    def _report(self, done: int, total: int, metrics: dict[str, float]) -> None:
        if self._latest and ranks.rank() == 0 and done % (1 + total // MOST_UPDATES) == 0:
            # An attempt that was killed may have told of later updates, which are done again.
            before = [row for row in self.read() if row["update"] < done]
            rows.write(self.file, [*before, *({"update": done} | row for row in self._latest)])
        self._work.report(done, total, metrics | self._timing(metrics))

    def _timing(self, metrics: dict[str, float]) -> dict[str, float]:
        seconds = self._pace.lap()
        if not metrics or seconds <= 0:
            return {}
        tokens = metrics.get("length", 0.0) * self._replies / seconds
        return {"seconds": seconds} | ({"tokens_per_second": tokens} if tokens else {})

    def read(self) -> list[dict[str, Any]]:
        """The rows that were kept so far."""
        return [row for _, row in rows.read_json(self.file)] if self.file.exists() else []

    def publish(self, out: Path) -> None:
        """Put a copy beside the model: checkpoints are removed some day."""
        if self.file.exists() and ranks.rank() == 0:
            shutil.copyfile(self.file, out / ROLLOUTS)


def _row(chat: Messages, text: str, score: float) -> dict[str, Any]:
    asked = str(chat[-1]["content"]) if chat else ""
    return {
        "prompt": asked[:MOST_CHARACTERS],
        "reply": text[:MOST_CHARACTERS],
        "score": float(score),
    }
