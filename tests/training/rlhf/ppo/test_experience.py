from __future__ import annotations

import itertools

import numpy as np
import pytest

from training.rlhf.config import PPOConfig
from training.rlhf.ppo.experience import cuts, minibatches


def computed(widths: list[int], bounds: list[int], cost: int) -> int:
    """Tokens of the passes between `bounds`, by definition."""
    parts = [widths[a:b] for a, b in itertools.pairwise(bounds)]
    return sum(max(part) * len(part) + cost for part in parts)


@pytest.mark.parametrize("cost", [0, 5, 64, 10_000])
def test_passes_are_the_cheapest_of_all_ways_to_cut(cost):
    rng = np.random.default_rng(cost)
    for _ in range(8):
        widths = sorted(rng.integers(1, 80, size=9).tolist(), reverse=True)
        found = cuts(np.array(widths), cost=cost)
        bounds = [0, *(part.stop for part in found)]
        assert [part.start for part in found] == bounds[:-1]
        assert bounds[-1] == len(widths)
        every = (
            [0, *inner, len(widths)]
            for n in range(len(widths))
            for inner in itertools.combinations(range(1, len(widths)), n)
        )
        assert computed(widths, bounds, cost) == min(computed(widths, b, cost) for b in every)


def test_every_row_is_in_one_pass_of_an_epoch_beside_rows_of_its_width():
    config = PPOConfig(batch_size=16, minibatch_size=8, gradient_accumulation=2)
    widths = [10, 400] * 8
    for epoch in range(3):
        found = list(minibatches(config, widths, seed=0, update=0, epoch=epoch, cost=64))
        assert len(found) == 2
        assert sorted(row for part in found for rows in part for row in rows.tolist()) == list(
            range(16)
        )
        for rows in itertools.chain.from_iterable(found):
            assert len(rows) <= 4
            assert len({widths[row] for row in rows.tolist()}) == 1
