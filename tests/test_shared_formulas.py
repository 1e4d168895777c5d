"""Formulas that both the labelling side and the engine need, though neither imports the other."""

from __future__ import annotations

import numpy as np
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


@pytest.mark.parametrize("per_prompt", [1, 3])
def test_an_interval_by_prompt_is_the_same_on_both_sides(per_prompt: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        prompts = np.repeat(np.arange(12), per_prompt)
        agrees = (rng.random(12)[prompts] < rng.random(len(prompts))).astype(float)
        groups = [str(prompt) for prompt in prompts]
        assert wilson_interval.clustered(agrees.tolist(), prompts.tolist()) == pytest.approx(
            engine.clustered_share(agrees, groups), abs=1e-4
        )
