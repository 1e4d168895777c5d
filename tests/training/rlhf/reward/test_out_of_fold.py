from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.rlhf import world
from training.rlhf.config import RewardConfig, from_dict
from training.rlhf.reward import out_of_fold
from training.rlhf.reward.optimiser_loop import Features
from training.rlhf.run.work import Work

CONFIG = from_dict(RewardConfig, world.CONFIG["reward"] | {"folds": 3})


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.starter(tmp_path_factory.mktemp("starter"))


def test_every_pair_with_votes_is_judged_once_by_a_model_that_did_not_see_its_prompt(
    starter: Path, tmp_path: Path
) -> None:
    pairs = world.preferences(24)
    open_pair = replace(pairs[0], pair_id="open", votes=())
    work = Work.in_folder(tmp_path, seed=1, device="cpu", silent=True)
    seen = out_of_fold.out_of_fold(starter, [*pairs, open_pair], CONFIG, work)
    assert seen is not None
    assert sorted(seen.pair_ids) == sorted(row.pair_id for row in pairs)
    metrics = seen.metrics()
    assert metrics["pairs_held_out"] == 24
    assert 0 <= metrics["accuracy_low"] <= metrics["accuracy"] <= metrics["accuracy_high"] <= 1
    assert not list(tmp_path.glob("**/fold-*/model"))


def test_the_base_reads_every_text_once_for_all_folds_and_says_the_same(
    starter: Path, tmp_path: Path
) -> None:
    pairs, probe = world.preferences(24), replace(CONFIG, linear_probe=True)
    work = Work.in_folder(tmp_path, seed=1, device="cpu", silent=True)
    features: Features = {}
    first = out_of_fold.out_of_fold(starter, pairs, probe, work, features=features)
    read = dict(features)
    texts = {(row.prompt_id, t) for row in pairs for t in (row.completion_a, row.completion_b)}
    assert len(read) == len(texts)
    again = out_of_fold.out_of_fold(starter, pairs, probe, work, features=features)
    assert first is not None and again is not None and features.keys() == read.keys()
    assert np.allclose(first.rewards, again.rewards, atol=1e-4)


def test_pairs_of_one_prompt_are_not_measured(starter: Path, tmp_path: Path) -> None:
    alike = [replace(row, prompt_id="p", held_out=False) for row in world.preferences(12)]
    work = Work.in_folder(tmp_path, seed=1, device="cpu", silent=True)
    assert out_of_fold.out_of_fold(starter, alike, CONFIG, work) is None


@pytest.mark.parametrize(("n", "held_out", "wanted"), [(40, 4, 1), (299, 60, 0), (320, 4, 0)])
def test_out_of_fold_while_pairs_are_few_and_held_out_ones_too_few(
    n: int, held_out: int, wanted: int
) -> None:
    rows = [replace(r, held_out=i < held_out) for i, r in enumerate(world.preferences(n))]
    assert out_of_fold.wanted(rows, CONFIG) == bool(wanted)
    assert not out_of_fold.wanted(rows, replace(CONFIG, folds=0))
