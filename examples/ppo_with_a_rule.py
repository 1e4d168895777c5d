"""PPO against a rule in Python: replies that thank, and stay short.

    python examples/ppo_with_a_rule.py MODEL PROMPTS OUT [UPDATES]

MODEL is a folder or hub id, PROMPTS a file of prompts (JSON lines: {"prompt": "..."}). The new
policy is in OUT/model; the same command again goes on where it was ended.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.rlhf.config import PPOConfig
from training.rlhf.data import data_files
from training.rlhf.ppo import training_loop
from training.rlhf.reward import score_functions
from training.rlhf.run.work import Work


def rule(chats: Sequence[Sequence[Mapping[str, str]]], replies: Sequence[str]) -> list[float]:
    """One point for thanks, a tenth less for every word after the twentieth."""
    return [("thank" in text.lower()) - max(0, len(text.split()) - 20) / 10 for text in replies]


def main(model: str, prompts: str, out: str, updates: str = "50") -> None:
    config = PPOConfig(updates=int(updates), learning_rate=1e-5, critic_learning_rate=1e-4)
    metrics = training_loop.train(
        model,  # the policy to start from
        model,  # what it is held to: KL is measured to this one
        data_files.prompts(prompts, held_out_share=0.0),
        rule,
        config,
        Path(out) / "model",
        Work.in_folder(out),
        score_digest=score_functions.source_digest(rule),  # another rule does not go on from here
    )
    first, last = metrics["reward_first"], metrics["reward_last"]
    print(f"score {first:.2f} at first, {last:.2f} at last; KL {metrics['kl']:.2f} nats")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (4, 5) else sys.exit(__doc__)
