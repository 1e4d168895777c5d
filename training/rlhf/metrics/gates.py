"""Gates: bounds that a candidate policy has to keep before it may replace the one in use.

A gate is a function of the stages' metrics and of the bounds (`GateConfig`), and a line of `GATES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from training.rlhf.config import GateConfig
from training.rlhf.config.stage_names import EVALUATE, TRAIN_POLICY, TRAIN_REWARD
from training.rlhf.metrics import reward_hacking

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
        """False where there is no value, or too few observations for one: that is no pass either,
        but nothing against the candidate."""
        return self.value is not None


@dataclass(frozen=True)
class Measurement:
    """A value and the range [low, high] that it has to lie in."""

    value: float | None
    low: float = -math.inf
    high: float = math.inf
    remark: str = ""
    """Follows the gate's title, for example the alarms that were raised."""


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


def _reward_accuracy(metrics: StageMetrics, config: GateConfig) -> Measurement:
    accuracy = metrics.get(TRAIN_REWARD, {}).get("accuracy")
    return Measurement(accuracy, low=config.reward_accuracy_min)


def _kl(metrics: StageMetrics, config: GateConfig) -> Measurement:
    return Measurement(metrics.get(EVALUATE, {}).get("kl"), high=config.kl_max)


def _length(metrics: StageMetrics, config: GateConfig) -> Measurement:
    ratio = _ratio_to_before(metrics, "length")
    return Measurement(ratio, low=config.length_ratio_min, high=config.length_ratio_max)


def _variety(metrics: StageMetrics, config: GateConfig) -> Measurement:
    return Measurement(_ratio_to_before(metrics, "distinct2"), low=config.distinct2_ratio_min)


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
    return Measurement(metrics.get(EVALUATE, {}).get("win_rate_low"), low=config.win_rate_min)


def _ratio_to_before(metrics: StageMetrics, name: str) -> float | None:
    """A figure of the new policy's replies as a multiple of the former policy's."""
    evaluated = metrics.get(EVALUATE, {})
    value, before = evaluated.get(name), evaluated.get(f"{name}_before")
    return None if value is None or not before else value / before


Rule = Callable[[StageMetrics, GateConfig], Measurement | None]
"""None: the gate does not concern this candidate."""
GATES: dict[str, tuple[str, Rule]] = {
    "reward_accuracy": ("Reward model accuracy on held-out votes", _reward_accuracy),
    "kl": ("KL to the starter (nats)", _kl),
    "length": ("Length against the policy before", _length),
    "distinct2": ("Variety (distinct-2) against the policy before", _variety),
    "repetition": ("Repetition within a reply", _repetition),
    "alarms": ("Alarms during training", _alarms),
    "broken": ("Broken replies", _broken),
    "win_rate": ("Win rate by the second reward model (lower bound)", _win_rate),
}
"""Name to title and rule, in the order of the page. The name is stored: it never changes."""
