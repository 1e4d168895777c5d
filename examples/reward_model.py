"""A reward model from preferences, and its scores of two replies.

    python examples/reward_model.py MODEL PAIRS OUT [EPOCHS]

MODEL is a folder or hub id whose trunk is used, PAIRS a file of preferences (JSON lines:
{"prompt": "...", "chosen": "...", "rejected": "..."}). The reward model is in OUT/model.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from training.rlhf.config import RewardConfig
from training.rlhf.data import data_files
from training.rlhf.reward import reward_model, reward_training
from training.rlhf.run.work import Work


def main(model: str, pairs: str, out: str, epochs: str = "2") -> None:
    preferences = data_files.preferences(pairs, held_out_share=0.0)
    config = RewardConfig(epochs=float(epochs), learning_rate=1e-5)
    folder = Path(out) / "model"
    reward_training.train(model, preferences, config, folder, Work.in_folder(out))

    first = preferences[0]
    scorer = reward_model.load(folder)
    a, b = scorer.score([first.messages, first.messages], [first.completion_a, first.completion_b])
    print(f"{a:8.3f}  {first.completion_a}")
    print(f"{b:8.3f}  {first.completion_b}")
    print(f"the first is better with probability {1 / (1 + math.exp(b - a)):.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (4, 5) else sys.exit(__doc__)
