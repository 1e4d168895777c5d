from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.rlhf import world
from training.rlhf import reward_curve, reward_stage, stages
from training.rlhf.config import RewardConfig
from training.rlhf.rundir import RunDirectory, Stopped


def test_a_larger_subset_holds_the_smaller_and_never_parts_a_prompt() -> None:
    votes = world.preferences(60)
    small, large = (reward_curve.subset(votes, n, seed=1) for n in (20, 60))
    assert {p.pair_id for p in small} < {p.pair_id for p in large}
    learnt = [p for p in small if not p.held_out]
    assert 20 <= sum(len(p.votes) for p in learnt) <= 22
    assert [p for p in small if p.held_out] == [p for p in votes if p.held_out]
    assert reward_curve.subset(votes, 20, seed=2) != small


def test_a_curve_that_was_stopped_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    base, votes = str(world.starter(tmp_path / "base")), world.preferences(32)
    config = RewardConfig(epochs=1.0, batch_size=4, max_length=128, checkpoint_every=1)
    whole = {"steps": 3.0, "judge_steps": 2.0, "votes_train": 48.0, "pairs_train": 24.0}
    whole |= {"accuracy": 0.5, "pairs_held_out": 8.0, "auc": 0.5, "ece": 0.1}

    def draw(name: str, *, stop_at: int = 0) -> dict[str, float]:
        run = RunDirectory(tmp_path / name)
        run.path.mkdir(exist_ok=True)
        work = stages.begin(run, "reward", seed=1, threads=1, device="cpu")
        out = tmp_path / name / "out"
        out.mkdir(exist_ok=True)

        def watch(line: dict[str, int]) -> None:
            if line["step"] == stop_at:
                raise Stopped

        run.listener = watch
        with run.claim():
            return reward_stage.draw_learning_curve(
                work, base, votes, config, (8, 16), out, whole=whole
            )

    torch.manual_seed(0)
    straight = draw("a")
    with pytest.raises(Stopped):
        draw("b", stop_at=8)  # within the second point
    assert draw("b") == straight
    assert list(straight) == ["accuracy_8_votes", "accuracy_16_votes", "accuracy_48_votes"]
    files = [tmp_path / name / "out" / "learning_curve.jsonl" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()
    steps = [line["step"] for line in RunDirectory(tmp_path / "a").metrics()]
    assert steps == list(range(6, 6 + len(steps)))
