from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.training.rlhf import tiny, world
from training.rlhf.config import ConfigError, RewardConfig
from training.rlhf.reward import learning_curve, model_and_judge
from training.rlhf.rows import Preference
from training.rlhf.run.run_directory import RunDirectory, Stopped
from training.rlhf.run.work import Work


def test_a_larger_subset_holds_the_smaller_and_never_parts_a_prompt() -> None:
    votes = world.preferences(60)
    small, large = (learning_curve.subset(votes, n, seed=1) for n in (20, 60))
    assert {p.pair_id for p in small} < {p.pair_id for p in large}
    learnt = [p for p in small if not p.held_out]
    assert 20 <= sum(len(p.votes) for p in learnt) <= 22
    assert [p for p in small if p.held_out] == [p for p in votes if p.held_out]
    assert learning_curve.subset(votes, 20, seed=2) != small


CONFIG = RewardConfig(epochs=1.0, batch_size=4, max_length=128, checkpoint_every=1)
WHOLE = {"steps": 3.0, "judge_steps": 2.0, "votes_train": 48.0, "pairs_train": 24.0}
WHOLE |= {"accuracy": 0.5, "pairs_held_out": 8.0, "auc": 0.5, "ece": 0.1}


def draw(
    folder: Path,
    base: Path,
    votes: list[Preference],
    *,
    config: RewardConfig = CONFIG,
    stop_at: int = 0,
) -> dict[str, float]:
    """Draw a curve of two points and the whole in `folder`."""
    run = RunDirectory(folder)
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    work = Work.of_stage(run, "reward", seed=1, threads=1, device="cpu")

    def watch(line: dict[str, int]) -> None:
        if line["step"] == stop_at:
            raise Stopped

    run.listener = watch
    with run.claim():
        return model_and_judge.draw_learning_curve(
            str(base), votes, config, (8, 16), out, work, whole=WHOLE
        )


def trained(folder: Path) -> int:
    """Steps that were taken in `folder` so far, those of the same number too."""
    return len((folder / "metrics.jsonl").read_text().splitlines())


def test_a_curve_that_was_stopped_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    base, votes = world.starter(tmp_path / "base"), world.preferences(32)
    straight = draw(tmp_path / "a", base, votes)
    with pytest.raises(Stopped):
        draw(tmp_path / "b", base, votes, stop_at=8)  # within the second point
    assert draw(tmp_path / "b", base, votes) == straight
    assert list(straight) == ["accuracy_8_votes", "accuracy_16_votes", "accuracy_48_votes"]
    files = [tmp_path / name / "out" / "learning_curve.jsonl" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    steps = [line["step"] for line in RunDirectory(tmp_path / "a").metrics()]
    assert steps == list(range(6, 6 + len(steps)))


def test_points_are_kept_until_data_settings_or_base_change(tmp_path: Path) -> None:
    base, votes = world.starter(tmp_path / "base"), world.preferences(32)
    folder = tmp_path / "run"
    draw(folder, base, votes)
    once = trained(folder)
    draw(folder, base, votes, config=dataclasses.replace(CONFIG, checkpoint_every=9))
    assert trained(folder) == once, "how often it saves changes no point"
    draw(folder, base, votes, config=dataclasses.replace(CONFIG, learning_rate=1e-3))
    assert trained(folder) == 2 * once
    draw(folder, base, world.preferences(32, seed=1))
    assert trained(folder) > 2 * once
    before = trained(folder)
    tiny.llama(base, seed=5)  # other weights in the same place
    draw(folder, base, votes)
    assert trained(folder) == before + once


def test_what_a_curve_cannot_be_drawn_from_is_said_before_training() -> None:
    votes = world.preferences(32)
    undecided = [
        dataclasses.replace(
            row, votes=tuple(dataclasses.replace(v, choice="tie") for v in row.votes)
        )
        for row in votes
    ]
    small = {p.pair_id for p in learning_curve.subset(votes, 8, seed=1) if not p.held_out}
    tied = [
        other if row.pair_id in small else row for row, other in zip(votes, undecided, strict=True)
    ]
    learning_curve.check(votes, (8, 16), seed=1)
    learning_curve.check(tied, (16,), seed=1)
    with pytest.raises(ConfigError, match="the 8 votes drawn for a point are all ties"):
        learning_curve.check(tied, (8, 16), seed=1)
    with pytest.raises(ConfigError, match="with a preferred side to measure on"):
        learning_curve.check([r for r in votes if not r.held_out], (8,), seed=1)
    with pytest.raises(ConfigError, match="asks for 99 votes, and there are 48"):
        learning_curve.check(votes, (99,), seed=1)
