"""Gates: bounds that a candidate policy has to keep before it may replace the one in use.

A gate is a function of the stages' metrics and of the bounds (`GateConfig`), and a line of `GATES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from training.rlhf.config import EVALUATE, TRAIN_POLICY, TRAIN_REWARD, GateConfig
from training.rlhf.metrics import intervals, reward_hacking

MAY_LACK = frozenset({"reward_accuracy", "win_rate"})
"""Gates that may rightly have no value: pairs are few, or there is no judge. Every other one that
has none is failed, because a measurement that diverged (NaN, infinite) is stored as none."""

StageMetrics = Mapping[str, Mapping[str, float | None]]
"""Stage to its metrics by name."""


@dataclass(frozen=True)
class Gate:
    """One bound that a candidate policy has to keep, and whether it does."""

    name: str
    value: float | None
    bound: str
    """The allowed range, as text."""
    passed: bool
    text: str

    @property
    def measured(self) -> bool:
        """False where there is no value, or too few observations for one: that is no pass."""
        return self.value is not None

    @property
    def failed(self) -> bool:
        """True where it stands against the candidate."""
        return is_failed(self.name, self.value, passed=self.passed)


def is_failed(name: str, value: float | None, *, passed: bool) -> bool:
    """True where a gate stands against its candidate: it is not passed, and not one of MAY_LACK
    that has no value."""
    return not passed and (value is not None or name not in MAY_LACK)


@dataclass(frozen=True)
class Measurement:
    """A value and the range [low, high] that it has to lie in."""

    value: float | None
    low: float = -math.inf
    high: float = math.inf
    remark: str = ""
    """Follows the gate's title, for example the alarms that were raised."""


Rule = Callable[[StageMetrics, GateConfig], Measurement | None]
"""None: the gate does not concern this candidate."""


def gates(metrics: StageMetrics, config: GateConfig) -> list[Gate]:
    """Judge a candidate by the metrics of its stages; a missing metric never passes."""
    measured = [(name, title, rule(metrics, config)) for name, (title, rule) in GATES.items()]
    return [_judged(name, title, m) for name, title, m in measured if m is not None]


def _judged(name: str, title: str, measured: Measurement) -> Gate:
    value, low, high = measured.value, measured.low, measured.high
    title += measured.remark
    bounds = [f"at least {low:g}"] * (low > -math.inf) + [f"at most {high:g}"] * (high < math.inf)
    bound = ", ".join(bounds)
    if value is None or not math.isfinite(value):
        return Gate(name, None, bound, False, f"{title}: not measured ({bound})")
    passed = low <= value <= high
    verdict = "ok" if passed else "outside"
    return Gate(name, value, bound, passed, f"{title}: {value:.3g}, {verdict} ({bound})")


POWERED = 60
"""Pairs from which on an accuracy that is not certainly above its bound is one that fails it; with
fewer the gate would refuse good models as often as bad ones, so it is not measured."""


def _reward_accuracy(metrics: StageMetrics, config: GateConfig) -> Measurement:
    """The lower end of the interval counts: on few pairs a coin is often right."""
    trained = metrics.get(TRAIN_REWARD, {})
    low, high, n = (trained.get(k) for k in ("accuracy_low", "accuracy_high", "pairs_held_out"))
    accuracy, bound = trained.get("accuracy"), config.reward_accuracy_min
    if low is None and n and accuracy is not None and math.isfinite(accuracy):
        low, high = intervals.wilson(accuracy, round(n))  # a round of a former version
    if low is None or high is None or not n:
        return Measurement(None, low=bound, remark=" (lower end of its interval)")
    folds = " out of fold" if trained.get("accuracy_folds") else ""
    remark = f" (lower end of its interval, {n:.0f} pairs{folds})"
    undecided = n < POWERED and low < bound <= high
    return Measurement(None if undecided else low, low=bound, remark=remark)


def _kl(metrics: StageMetrics, config: GateConfig) -> Measurement:
    evaluated = metrics.get(EVALUATE, {})
    tokens = evaluated.get("length_starter")
    bound = min(config.kl_max, config.kl_per_token_max * tokens) if tokens else config.kl_max
    return Measurement(evaluated.get("kl"), high=bound)


def _length(metrics: StageMetrics, config: GateConfig) -> Measurement | None:
    ratio = _ratio_to_starter(metrics, "length")
    if ratio == math.inf:
        return None
    return Measurement(ratio, low=config.length_ratio_min, high=config.length_ratio_max)


def _variety(metrics: StageMetrics, config: GateConfig) -> Measurement | None:
    ratio = _ratio_to_starter(metrics, "distinct2")
    return None if ratio == math.inf else Measurement(ratio, low=config.distinct2_ratio_min)


def _habit(name: str) -> Rule:
    """The rise of a habit's share over the starter's."""

    def rise(metrics: StageMetrics, config: GateConfig) -> Measurement:
        evaluated = metrics.get(EVALUATE, {})
        share, first = evaluated.get(f"{name}_rate"), evaluated.get(f"{name}_rate_starter")
        value = None if share is None or first is None else share - first
        return Measurement(value, high=config.habit_rise_max)

    return rise


def _judge_lead(metrics: StageMetrics, config: GateConfig) -> Measurement | None:
    """Reward model and judge disagree where the first was maximised beyond what it knows. By
    preferences nothing is maximised, and a round of a former version does not tell."""
    evaluated = metrics.get(EVALUATE, {})
    by_model, by_judge = evaluated.get("reward_win_rate"), evaluated.get("win_rate")
    if by_model is None or by_judge is None:
        return None
    return Measurement(by_model - by_judge, high=config.judge_lead_max)


def _repetition(metrics: StageMetrics, config: GateConfig) -> Measurement:
    return _no_worse(metrics, "repetition", config.repetition_max)


def _alarms(metrics: StageMetrics, config: GateConfig) -> Measurement | None:
    """Of the optimisers that sample: DPO, KTO and ORPO have no replies to watch."""
    trained = metrics.get(TRAIN_POLICY, {})
    if "alarms" not in trained:
        return None
    titles = reward_hacking.TITLES.items()
    signs = ", ".join(title for name, title in titles if trained.get(f"alarm_{name}"))
    remark = f" ({signs})" if signs else ""
    return Measurement(trained["alarms"], high=config.alarms_max, remark=remark)


def _broken(metrics: StageMetrics, config: GateConfig) -> Measurement:
    return _no_worse(metrics, "broken_rate", config.broken_max, cap=MOST_BROKEN)


MOST_BROKEN = 0.9
"""Share of broken replies with which nothing passes, whatever the policy before had of them."""


def _no_worse(metrics: StageMetrics, name: str, most: float, cap: float = 1.0) -> Measurement:
    """A fault that stays below its bound, or below what the policy before has of it: one that
    begins outside the bound, as a model does whose replies are longer than the limit, may mend it
    step by step."""
    evaluated = metrics.get(EVALUATE, {})
    before = evaluated.get(f"{name}_before") or 0.0
    remark = " (no more than the policy before)" if before > most else ""
    return Measurement(evaluated.get(name), high=min(max(most, before), cap), remark=remark)


def _win_rate(metrics: StageMetrics, config: GateConfig) -> Measurement:
    """By the second reward model, never by the one that was maximised; the lower bound counts."""
    evaluated = metrics.get(EVALUATE, {})
    n = evaluated.get("prompts")
    trained = metrics.get(TRAIN_REWARD, {})
    independent, trunk_apart = trained.get("judge_independent"), trained.get("judge_trunk_apart")
    told = [f"lower end of its interval, {n:.0f} prompts"] if n else ["lower end of its interval"]
    told += [] if independent else ["not independent of the reward model"]
    told += ["on the same trunk"] if trunk_apart == 0 else []  # None: of a former version
    value = evaluated.get("win_rate_low")
    return Measurement(value, low=config.win_rate_min, remark=f" ({'; '.join(told)})")


def _ratio_to_starter(metrics: StageMetrics, name: str) -> float | None:
    """A figure of the new policy's replies as a multiple of the starter's; infinite where that is
    zero, with which nothing can be held against the candidate."""
    evaluated = metrics.get(EVALUATE, {})
    value, first = evaluated.get(name), evaluated.get(f"{name}_starter")
    if value is None or first is None:
        return None
    return value / first if first else math.inf


GATES: dict[str, tuple[str, Rule]] = {
    "reward_accuracy": ("Reward model accuracy on held-out votes", _reward_accuracy),
    "kl": ("KL to the starter (nats)", _kl),
    "length": ("Length against the starter", _length),
    "distinct2": ("Variety (distinct-2) against the starter", _variety),
    "refusals": ("Refusals, rise over the starter", _habit("refusal")),
    "flattery": ("Flattery, rise over the starter", _habit("flattery")),
    "hedging": ("Hedging, rise over the starter", _habit("hedging")),
    "markdown": ("Markdown, rise over the starter", _habit("markdown")),
    "repetition": ("Repetition within a reply", _repetition),
    "alarms": ("Alarms during training", _alarms),
    "broken": ("Broken replies", _broken),
    "judge_lead": ("Reward model ahead of the judge in its win rate", _judge_lead),
    "win_rate": ("Win rate by the judge, a second reward model", _win_rate),
}
"""Name to title and rule, in the order of the page. The name is stored: it never changes."""
