"""Formulas that both the labelling side and the engine need, though neither imports the other."""

from __future__ import annotations

import pytest

from annotate.statistics import wilson_interval
from training.rlhf.metrics import intervals as engine


@pytest.mark.parametrize("n", [1, 2, 7, 20, 100, 10_000])
@pytest.mark.parametrize("z", [1.0, wilson_interval.NORMAL_95, 2.5758])
def test_wilsons_interval_is_the_same_on_both_sides(n: int, z: float) -> None:
    for hits in {0, n // 3, n // 2, n - 1, n}:
        assert engine.wilson(hits / n, n, z=z) == pytest.approx(
            wilson_interval.wilson(hits, n, z=z)
        )
