from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.rlhf.pipeline.rollout_log import MOST_UPDATES, PER_UPDATE, RolloutLog
from training.rlhf.run.work import Work

CHATS = [[{"role": "user", "content": f"Question {n}"}] for n in range(5)]
TOLD: list[dict[str, float]] = []


@pytest.fixture
def work(tmp_path: Path) -> Work:
    TOLD.clear()
    made = Work.in_folder(tmp_path, silent=True)
    return replace(made, report=lambda done, total, metrics: TOLD.append(metrics))


def update(log: RolloutLog, number: int, total: int = 10) -> None:
    """One update: replies are scored, then it is told of."""
    replies = [f"Reply {number}.{n}" for n in range(5)]
    log.watched(lambda chats, texts: [float(number)] * len(texts))(CHATS, replies)
    log.work().report(number, total, {"reward": 1.0, "length": 20.0})


def kept(log: RolloutLog) -> list[tuple[Any, ...]]:
    return [(row["update"], row["reply"], row["score"]) for row in log.read()]


def test_some_replies_of_every_update_are_kept_with_their_scores(
    work: Work, tmp_path: Path
) -> None:
    log = RolloutLog(work, replies=5)
    update(log, 1)
    update(log, 2)
    assert len(kept(log)) == 2 * PER_UPDATE
    assert kept(log)[0] == (1, "Reply 1.0", 1.0) and kept(log)[-1] == (2, "Reply 2.2", 2.0)
    log.publish(tmp_path)
    assert (tmp_path / "rollouts.jsonl").read_text() == log.file.read_text()


def test_updates_that_are_done_again_after_a_kill_replace_those_before(work: Work) -> None:
    first = RolloutLog(work, replies=5)
    for number in (1, 2, 3):
        update(first, number)
    again = RolloutLog(work, replies=5)  # from the checkpoint of update 1
    update(again, 2)
    assert [row[0] for row in kept(again)] == [1] * PER_UPDATE + [2] * PER_UPDATE


def test_of_a_long_training_some_updates_are_kept(work: Work) -> None:
    log, total = RolloutLog(work, replies=5), 3 * MOST_UPDATES
    for number in (1, 2, 3, 4, 5, 8):
        update(log, number, total)
    assert {row[0] for row in kept(log)} == {4, 8}


def test_every_update_tells_its_seconds_and_tokens(work: Work) -> None:
    update(RolloutLog(work, replies=5), 1)
    [told] = TOLD
    assert told["reward"] == 1.0 and told["seconds"] > 0
    assert told["tokens_per_second"] == pytest.approx(20 * 5 / told["seconds"])
