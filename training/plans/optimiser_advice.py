"""Advice on the optimiser by the number of votes.

A judgement from figures of our own small models (docs/decisions.md), not a law: the first round
shows more than any rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.rlhf.config import OPTIMISERS

SOURCES = {"preferences": "votes alone", "reward": "reward model"}
CHOICES = {
    name: f"{name.upper()} ({SOURCES[optimiser.learns_from]})"
    for name, optimiser in OPTIMISERS.items()
}
"""The engine's optimisers, each with what it learns from."""

ENOUGH = 400
"""Pairs from which a reward model is worth following. Ours was right on .72 to .84 of noiseless
held-out pairs after 176 pairs, on .84 to .90 after 400, on .95 to .97 after 1,000."""
PLENTY = 1000
COUNTED = PLENTY + 1
"""Pairs beyond which their number changes nothing."""


@dataclass(frozen=True)
class Advice:
    """The optimiser for the votes that are there, and why, in a sentence or two."""

    optimiser: str
    why: str

    @property
    def name(self) -> str:
        return self.optimiser.upper()


def advise(pairs: int) -> Advice:
    """Advice for a project with this many resolved pairs of training prompts, or `COUNTED`."""
    if pairs < ENOUGH:
        so_far = f"there {'is' if pairs == 1 else 'are'} {pairs}"
        return Advice(
            "dpo",
            f"Below about {ENOUGH} resolved pairs of training prompts ({so_far}) a reward model is "
            "wrong on one comparison in five or more, and what is optimised against it learns its "
            "mistakes. DPO learns from the votes themselves; with more of them PPO gains more.",
        )
    there = f"{pairs:,}" if pairs < COUNTED else f"More than {PLENTY:,}"
    near = "" if pairs >= PLENTY else " Keep it near the starter (ppo.kl_coef 0.3) for now."
    return Advice(
        "ppo",
        f"{there} resolved pairs of training prompts make a reward model that is worth "
        "following, and PPO, which tries out replies nobody has voted on, gains most from it."
        f"{near} Where memory is short for its critic, take RLOO.",
    )
