"""Names of a round's stages. They are folders of run directories and keys of stored results: one
that changes is lost to everything made before."""

from __future__ import annotations

TRAIN_REWARD = "train_reward"
TRAIN_POLICY = "train_policy"
EVALUATE = "evaluate"
SAMPLE = "sample"
PROPOSE = "propose"
