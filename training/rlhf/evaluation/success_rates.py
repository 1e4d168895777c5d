"""Success rates: the share of replies that are sound and score above a bar. Torch-free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.rlhf import rows
from training.rlhf.config.config_file import require
from training.rlhf.metrics import intervals
from training.rlhf.metrics.arrays import Floats

DRAWS = 1000
"""Resamples of the prompts behind the intervals."""


def success_rates(
    replies: str, score: str, baseline: str, threshold: float | None = None, *, seed: int = 0
) -> dict[str, float]:
    """The share of each model's replies that have no fault and a score above the threshold.

    Intervals are 95 %, by the bootstrap over prompts, all models on the same ones (Efron and
    Tibshirani 1993, percentiles). A bar that is the baseline's median is as uncertain as what is
    measured against it, so every resample has its own. Those of shares are no narrower than
    Wilson's, because few prompts that all agree would have none.

    Args:
        replies: replies.jsonl of a comparison.
        score: the number of a reply to judge by there, such as `score_reward`.
        baseline: the model whose median score is the bar where no threshold is given: half of its
            own replies are then successes, if none has a fault.

    Returns:
        threshold; for every model success_MODEL with _low and _high; for all but the baseline
        gain_MODEL, how much more often it succeeds than the baseline, with _low and _high.

    Raises:
        RowError: the file cannot be read.
        ConfigError: the baseline or the score is not in it, or models have different prompts.
    """
    scored = _read(replies, score, baseline)
    n = len(next(iter(scored.values())).scores)
    rates, bar = _successes(scored, baseline, threshold, np.arange(n))
    rng = np.random.default_rng([seed, 12])
    drawn = [
        _successes(scored, baseline, threshold, rng.integers(n, size=n))[0] for _ in range(DRAWS)
    ]
    result = {"threshold": bar}
    for model, rate in rates.items():
        low, high = intervals.percentiles(np.array([each[model] for each in drawn]))
        least, most = intervals.wilson(rate, n)
        name = f"success_{model}"
        result |= {name: rate, f"{name}_low": min(low, least), f"{name}_high": max(high, most)}
        if model != baseline:
            gains = np.array([each[model] - each[baseline] for each in drawn])
            low, high = intervals.percentiles(gains)
            name = f"gain_{model}"
            result |= {name: rate - rates[baseline], f"{name}_low": low, f"{name}_high": high}
    return result


@dataclass(frozen=True)
class Scored:
    """One model's replies to all prompts, (n,) each."""

    scores: Floats
    sound: npt.NDArray[np.bool_]


def _read(replies: str, score: str, baseline: str) -> dict[str, Scored]:
    """Every model's replies, in one order of prompts."""
    by_model: dict[str, dict[str, tuple[float, bool]]] = defaultdict(dict)
    for _, row in rows.read_json(replies):
        require(score in row["numbers"], f"{replies}: replies have no number {score}")
        by_model[row["model"]][row["prompt_id"]] = (row["numbers"][score], not row["fault"])
    require(baseline in by_model, f"{replies} has no replies of {baseline}")
    prompts = by_model[baseline].keys()
    result = {}
    for model, by_prompt in by_model.items():
        same = by_prompt.keys() == prompts
        require(same, f"{replies}: {model} and {baseline} did not answer the same prompts")
        scores, sound = zip(*(by_prompt[prompt] for prompt in prompts), strict=True)
        result[model] = Scored(np.array(scores, dtype=np.float64), np.array(sound))
    return result


def _successes(
    scored: Mapping[str, Scored],
    baseline: str,
    threshold: float | None,
    asked: npt.NDArray[np.int64],
) -> tuple[dict[str, float], float]:
    """Each model's share of successes on these prompts, and the bar."""
    bar = float(np.median(scored[baseline].scores[asked])) if threshold is None else threshold
    share = {
        model: float(np.mean(each.sound[asked] & (each.scores[asked] > bar)))
        for model, each in scored.items()
    }
    return share, bar
