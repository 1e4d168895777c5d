"""Accuracy from few votes: every pair is judged by a model that did not learn from its prompt."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.rlhf.config import ConfigError, RewardConfig
from training.rlhf.data import soft_labels
from training.rlhf.reward import held_out_report, reward_training
from training.rlhf.reward.held_out_report import HeldOut
from training.rlhf.reward.optimiser_loop import Features
from training.rlhf.rows import Preference
from training.rlhf.run import ranks
from training.rlhf.run.work import Work

ENOUGH_HELD_OUT = 60
"""Decided pairs of held-out prompts from which on those are what accuracy is measured on."""
FEW_PAIRS = 300
"""With as many pairs with votes the further models cost more than they tell."""


def wanted(pairs: Sequence[Preference], config: RewardConfig) -> bool:
    """True where held-out prompts are too few to tell, and pairs few enough to train again."""
    known = [row for row in pairs if row.votes and row.kind != "evaluation"]
    held_out = sum(row.held_out and soft_labels.verdict(row) is not None for row in known)
    return config.folds > 0 and held_out < ENOUGH_HELD_OUT and len(known) < FEW_PAIRS


def out_of_fold(
    base: str | Path,
    pairs: Sequence[Preference],
    config: RewardConfig,
    work: Work,
    *,
    features: Features | None = None,
) -> HeldOut | None:
    """Predictions for all pairs with votes, by `config.folds` models; None where a fold leaves
    nothing to learn from, as with a single prompt. `features` as in `reward_training.train`: the
    base reads every text once, and not in every fold."""
    features = {} if features is None else features
    known = [row for row in pairs if (row.votes or row.ai_votes) and row.kind != "evaluation"]
    parts = []
    for fold in range(config.folds):
        split = [_in_fold(row, fold, config.folds) for row in known]
        if not any(row.held_out for row in split):
            continue
        place = work.checkpoints / f"fold-{fold}"
        quiet = replace(work, checkpoints=place / "steps", report=lambda *_: None)
        try:
            # Learnt with what models voted, and measured by people's votes alone.
            taught = list(map(soft_labels.with_ai_votes, split))
            model, _ = reward_training.train(
                base, taught, config, place / "model", quiet, features=features
            )
        except ConfigError:
            return None
        parts.append(held_out_report.held_out(model, split))
        if ranks.rank() == 0:
            shutil.rmtree(place, ignore_errors=True)
    return held_out_report.joined(parts) if parts else None


def _in_fold(row: Preference, fold: int, folds: int) -> Preference:
    """The row, held out in its fold; what models voted on a held-out prompt teaches nowhere."""
    ai_votes = () if row.held_out else row.ai_votes
    return replace(row, held_out=_fold(row, folds) == fold, ai_votes=ai_votes)


def _fold(row: Preference, folds: int) -> int:
    """The fold of a pair's prompt: a hash, so that it stays as votes arrive."""
    return int.from_bytes(hashlib.sha256(f"fold {row.prompt_id}".encode()).digest()[:8]) % folds
