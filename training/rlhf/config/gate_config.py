"""Bounds of the gates: what a candidate policy has to stay within to be promoted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Bounds inside which a candidate policy may be promoted."""

    reward_accuracy_min: float = 0.5
    """Lower end of the 95 % interval of the reward model's accuracy: one half is a coin."""
    kl_max: float = 40.0
    """Mean KL per response to the supervised starter, nats, however long the replies are."""
    kl_per_token_max: float = 0.5
    """The same per token of the starter's replies: default rounds stay below 0.35, over-optimised
    ones came to 0.55 and more."""
    length_ratio_min: float = 0.5
    """Against the starter, so that it cannot creep from round to round; so with all that follow."""
    length_ratio_max: float = 1.5
    distinct2_ratio_min: float = 0.65
    habit_rise_max: float = 0.25
    """Most growth over the starter of the shares of replies that refuse, that flatter, that hedge,
    or that use Markdown."""
    judge_lead_max: float = 0.2
    """Most by which the reward model's win rate of the new policy may exceed the judge's."""
    repetition_max: float = 0.2
    broken_max: float = 0.2
    """Share of replies that are empty, cut off or stuck in a loop; where the policy before has
    more, that is the bound. So with `repetition_max`."""
    alarms_max: float = 0.0
    """Signs, after PPO's updates, that the score rose while the replies got worse."""
    win_rate_min: float = 0.5
    """Lower bound of the 95 % interval of the win rate by the second reward model."""
