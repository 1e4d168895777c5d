"""Signs that a score is being gamed: it rises while the text gets worse.

Each sign compares the newest updates with the first ones, over windows of a fifth of the run that
do not overlap, so that one odd batch raises nothing. What an optimiser does not measure raises
nothing either. Torch-free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from training.rlhf.config.policy_config import WatchedConfig
from training.rlhf.metrics.texts.diversity_and_refusals import distinct_of, mean, repetition_of

Metrics = Mapping[str, float]
WATCHED = ("reward", "distinct2", "repetition", "reference_perplexity", "length", "eos_rate")


def of_replies(said: Sequence[Sequence[int]], finished: Sequence[float]) -> dict[str, float]:
    """The watched numbers that replies alone give.

    Args:
        said: the tokens of each.
        finished: 1.0 for each that ended by itself, else 0.0.
    """
    return {
        "length": mean([float(len(ids)) for ids in said]),
        "eos_rate": mean(finished),
        "distinct2": distinct_of(said, 2),
        "repetition": mean([repetition_of(ids) for ids in said]),
    }


def window(updates: int) -> int:
    """Updates that are averaged: a fifth of the run."""
    return max(1, updates // 5)


def raised(history: Sequence[Metrics], config: WatchedConfig) -> list[str]:
    """The signs that hold after the last update of `history`, by name.

    None before there are two windows, and none while the score has not risen: text that gets worse
    for nothing is what the other gates are there for. A policy that has never ended a reply by
    itself is a sign of its own, whatever the score does.
    """
    size = window(config.updates)
    if len(history) < 2 * size:
        return []
    first, last = _means(history[:size]), _means(history[-size:])
    alarms = ["endless"] if first["eos_rate"] == last["eos_rate"] == 0 else []
    return alarms + (signs(first, last, config) if last["reward"] > first["reward"] else [])


def signs(first: Metrics, last: Metrics, config: WatchedConfig) -> list[str]:
    """The signs, by name, by which the replies that `last` describes are worse than `first`'s."""
    return [name for name, sign in _SIGNS.items() if sign(first, last, config)]


def _means(rows: Sequence[Metrics]) -> dict[str, float]:
    known = [key for key in WATCHED if key in rows[0]]
    return {key: mean([row[key] for row in rows]) for key in known}


def _ratio(first: Metrics, last: Metrics, key: str) -> float:
    return last[key] / first[key] if first[key] else math.inf


def _length(first: Metrics, last: Metrics, config: WatchedConfig) -> bool:
    bound = config.alarm_length_ratio
    return not 1 / bound <= _ratio(first, last, "length") <= bound


def _perplexity(first: Metrics, last: Metrics, config: WatchedConfig) -> bool:
    key = "reference_perplexity"
    return key in first and _ratio(first, last, key) > config.alarm_perplexity_ratio


_SIGNS: dict[str, Callable[[Metrics, Metrics, WatchedConfig], bool]] = {
    "variety": lambda a, b, c: b["distinct2"] < a["distinct2"] * c.alarm_distinct2_ratio,
    "repetition": lambda a, b, c: b["repetition"] - a["repetition"] > c.alarm_repetition_rise,
    "perplexity": _perplexity,
    "length": _length,
    "eos": lambda a, b, c: a["eos_rate"] - b["eos_rate"] > c.alarm_eos_drop,
}

TITLES = {
    "endless": "no reply ended by itself",
    "variety": "variety fell",
    "repetition": "repetition rose",
    "perplexity": "the starter finds the replies strange",
    "length": "length changed",
    "eos": "fewer replies end by themselves",
}
"""Every sign in words; the metrics call them `alarm_NAME`."""
ENDLESS_ADVICE = (
    "no reply ended by itself: raise max_new_tokens, or fine-tune the starter on replies that "
    "end with its stop token"
)


def metrics(history: Sequence[Metrics], config: WatchedConfig) -> dict[str, float]:
    """`alarms`, how many signs hold after the last update, and `alarm_NAME` (0 or 1) of each."""
    names = raised(history, config)
    return {"alarms": float(len(names))} | {
        f"alarm_{name}": float(name in names) for name in TITLES
    }


def summary(history: Sequence[Metrics], *, written: Metrics | None = None) -> dict[str, float]:
    """The metrics of a run of updates, whichever optimiser it was.

    Returns:
        reward_first and reward_last (means over the first and last fifth), kl, entropy, length and
        eos_rate of the last fifth, where measured, updates, and the alarms of `written`: the
        update whose policy was kept, the last one if not given.
    """
    size = window(len(history))
    first, last = history[:size], history[-size:]
    known = [key for key in ("kl", "entropy", "length", "eos_rate") if key in last[0]]
    kept = (history[-1] if written is None else written).items()
    return {
        **{key: mean([row[key] for row in last]) for key in known},
        "reward_first": mean([row["reward"] for row in first]),
        "reward_last": mean([row["reward"] for row in last]),
        "updates": float(len(history)),
        **{key: value for key, value in kept if key.startswith("alarm")},
    }
