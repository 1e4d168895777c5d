"""The policy optimisers. `OPTIMISERS` is the only place where they are listed.

A round chooses one by its setting `optimiser`; each is a command of its own too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Optimiser:
    """One way to improve a policy."""

    function: str
    """"module:name" of (policy, reference, preferences, settings, out, work), or for those that
    learn from a reward of (policy, reference, prompts, score, settings, out, work, score_digest=),
    and judge= where it is `judged`. Returns the metrics."""
    learns_from: Literal["preferences", "reward"]
    settings: Literal["ppo", "pairs", "groups"]
    """The section of RoundConfig and PolicyJob that it reads."""
    help: str
    judged: bool = False
    """True when a second reward model picks among its checkpoints."""


OPTIMISERS: dict[str, Optimiser] = {
    "ppo": Optimiser(
        "training.rlhf.ppo.training_loop:train",
        "reward",
        "ppo",
        "improve a policy against a reward model",
        judged=True,
    ),
    "dpo": Optimiser(
        "training.rlhf.trainers.dpo_kto_orpo:dpo",
        "preferences",
        "pairs",
        "improve a policy by preferences alone",
    ),
    "kto": Optimiser(
        "training.rlhf.trainers.dpo_kto_orpo:kto",
        "preferences",
        "pairs",
        "improve a policy by replies that are good or bad, each alone",
    ),
    "orpo": Optimiser(
        "training.rlhf.trainers.dpo_kto_orpo:orpo",
        "preferences",
        "pairs",
        "improve a policy by preferences alone, without a reference",
    ),
    "rloo": Optimiser(
        "training.rlhf.trainers.rloo_grpo:rloo",
        "reward",
        "groups",
        "improve a policy against a reward model, by comparing replies, without a critic",
    ),
    "grpo": Optimiser(
        "training.rlhf.trainers.rloo_grpo:grpo",
        "reward",
        "groups",
        "improve a policy against a reward model, by comparing replies, without a critic",
    ),
}
