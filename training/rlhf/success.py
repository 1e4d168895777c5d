"""How often a policy succeeds: its reply is sound and scores above a bar. Torch-free."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from training.rlhf import calibration, rows
from training.rlhf.configfile import require


def rates(
    replies: str, score: str, baseline: str, threshold: float | None = None
) -> dict[str, float]:
    """The share of each model's replies that have no fault and a score above the threshold.

    Args:
        replies: replies.jsonl of a comparison.
        score: the number of a reply to judge by there, such as `score_reward`.
        baseline: the model whose median score is the bar where no threshold is given: half of its
            own replies are then successes, if none has a fault.

    Returns:
        threshold, and for every model success_MODEL with _low and _high (95 %, Wilson).

    Raises:
        RowError: the file cannot be read.
        ConfigError: the baseline or the score is not in it.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, row in rows.read_json(replies):
        require(score in row["numbers"], f"{replies}: replies have no number {score}")
        found[row["model"]].append(row)
    require(baseline in found, f"{replies} has no replies of {baseline}")
    if threshold is None:
        threshold = statistics.median(row["numbers"][score] for row in found[baseline])
    result = {"threshold": threshold}
    for model, answers in found.items():
        good = [not row["fault"] and row["numbers"][score] > threshold for row in answers]
        rate = sum(good) / len(good)
        low, high = calibration.wilson(rate, len(good))
        name = f"success_{model}"
        result |= {name: rate, f"{name}_low": low, f"{name}_high": high}
    return result
