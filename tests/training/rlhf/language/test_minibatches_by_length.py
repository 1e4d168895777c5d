from __future__ import annotations

import itertools

import numpy as np
import pytest

from training.rlhf.language.minibatches_by_length import cheapest_passes, minibatches


def computed(widths: list[int], bounds: list[int], cost: int) -> int:
    """Tokens of the passes between `bounds`, by definition."""
    parts = [widths[a:b] for a, b in itertools.pairwise(bounds)]
    return sum(max(part) * len(part) + cost for part in parts)


@pytest.mark.parametrize("cost", [0, 5, 64, 10_000])
def test_passes_are_the_cheapest_of_all_ways_to_cut(cost):
    rng = np.random.default_rng(cost)
    for _ in range(8):
        widths = sorted(rng.integers(1, 80, size=9).tolist(), reverse=True)
        passes = cheapest_passes(np.array(widths), cost=cost)
        bounds = [0, *(part.stop for part in passes)]
        assert [part.start for part in passes] == bounds[:-1]
        assert bounds[-1] == len(widths)
        every = (
            [0, *inner, len(widths)]
            for n in range(len(widths))
            for inner in itertools.combinations(range(1, len(widths)), n)
        )
        assert computed(widths, bounds, cost) == min(computed(widths, b, cost) for b in every)


def test_every_row_is_in_one_pass_of_an_epoch_beside_rows_of_its_width():
    widths = [10, 400] * 8
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(16)
        epoch = list(minibatches(order, widths, size=8, parts=2, cost=64))
        assert len(epoch) == 2
        passes = list(itertools.chain.from_iterable(epoch))
        assert sorted(row for rows in passes for row in rows.tolist()) == list(range(16))
        for rows in passes:
            assert len(rows) <= 4
            assert len({widths[row] for row in rows.tolist()}) == 1
