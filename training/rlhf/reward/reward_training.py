"""Training a reward model on votes or ratings.

By default the loss is the Bradley-Terry log-likelihood of all votes of a pair at once:
cross-entropy between sigmoid(r_a - r_b) and the vote fraction, weighted by the votes' mass (see
soft_labels.label). The others are in `reward_losses`.

The loop is our own. TRL's RewardTrainer (1.16) keeps only chosen, rejected and margin: no vote
fractions, no weights, no ties; it reads every prompt twice, pads whole batches to their longest
text, and drops pairs longer than its limit without a word (docs/benchmarks.md).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel

from training.rlhf.config import ConfigError, RewardConfig, to_dict
from training.rlhf.language import lora_adapters, pretrained, weight_dtype
from training.rlhf.reward import optimiser_loop, reward_model, score_heads
from training.rlhf.reward.optimiser_loop import Features, Trainer
from training.rlhf.reward.reward_data import Item, bootstrap, decided, examples, rated
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.rows import Preference, Rating
from training.rlhf.run import distributed, ranks
from training.rlhf.run.device import seed_everything
from training.rlhf.run.failures import ModelError
from training.rlhf.run.run_directory import Stopped
from training.rlhf.run.work import Work


def train(
    base: str | Path,
    data: Sequence[Preference] | Sequence[Rating],
    config: RewardConfig,
    out: str | Path,
    work: Work,
    *,
    resample: bool = False,
    features: Features | None = None,
) -> tuple[RewardModel, dict[str, float]]:
    """Train a reward model and write it to `out`.

    Args:
        base: the starter (its trunk is used) or, for a warm start, an earlier reward model (its
            head and pooling too).
        data: all pairs, or ratings where the loss is `regression`; held-out ones, evaluation
            pairs and pairs without votes are left out.
        work: told and asked at the edge of every step; training goes on from its checkpoints.
        resample: train on a bootstrap of the prompts (the judge).
        features: what the head reads of texts by this base, from a training before; those of
            further texts are added.

    Returns:
        The model, and loss (last epoch's mean), slice_loss, best_step, steps, truncated (pairs or
        ratings that lost tokens), tie (the tie models' parameter: Rao and Kupper's eta, Davidson's
        nu) and what was learnt from: pairs_train, equal_replies (pairs left out: both replies are
        the same tokens), votes_train and annotators, or ratings_train.

    Raises:
        ConfigError: nothing to train on, or checkpoints of another run.
        Diverged: the loss stopped being finite; the last good checkpoint is kept.
    """
    distributed.require_whole_model("reward")
    seed_everything(work.seed)
    config = weight_dtype.with_dtype(config, base, work.device)
    model = reward_model.new(
        base,
        pooling=config.pooling,
        max_length=config.max_length,
        device=work.device,
        quantise=config.quantise,
        # Steps of 1e-6 vanish in bfloat16: only weights that stay as they are may be kept so.
        dtype=config.dtype if config.lora or config.linear_probe else "float32",
        linear_head=config.linear_probe or config.pooling == "mean",
    )
    _require_head(model, config)
    score_heads.put_ensemble_on(model.classifier, config.heads, config.heads_temperature)
    items, counts = _items(model, data, config)
    chosen = bootstrap(items, seed=work.seed) if resample else items
    known = {} if features is None else features
    # Of all items, also where few of them were drawn, and before a checkpoint is read: a training
    # that goes on reads the same batches, and so has the same bits.
    known |= optimiser_loop.features_of(model, items, config, known)
    trainer = Trainer(model, chosen, config, seed=work.seed, features=known)
    made_of = _fingerprint(pretrained.digest(base), config, work.seed, chosen)
    _optimise(trainer, work, made_of)
    trainer.keep_best()
    if isinstance(model.classifier, PeftModel):
        model.classifier = lora_adapters.merge_in_float32(model.classifier)
        reward_model.keep_trunk_in(model, config.dtype)
    _centre_heads(trainer, items)
    model.classifier.config.reward_loss = config.loss
    model.classifier.config.reward_tie = trainer.objective.tie_parameter()
    model.eval()  # dropout off: it scores from here on
    if ranks.rank() == 0:
        model.save(out)
    return model, counts | _outcome(trainer, items)


CENTRE_TEXTS = 128
"""Texts that the level of an ensemble's heads is measured on: more would cost time for nothing."""


def _centre_heads(trainer: Trainer[Any], items: Sequence[Item]) -> None:
    model = trainer.model
    if model.spread is None:
        return
    texts = [text for item in items[: CENTRE_TEXTS // 2] for text in item.texts]
    if trainer.config.linear_probe:
        features = trainer.trunk_features(texts)  # The trunk is what it was.
    else:
        features = model.in_batches(texts, model.features, batch_size=64)
    score_heads.centre(model.classifier, features)


def _require_head(model: RewardModel, config: RewardConfig) -> None:
    if config.linear_probe and model.head is None:
        raise ModelError("reward.linear_probe needs a linear head, and this reward model has none")


def _outcome(trainer: Trainer[Any], items: Sequence[Item]) -> dict[str, float]:
    tie = trainer.objective.tie_parameter()
    losses = trainer.losses
    return {
        "loss": sum(losses) / len(losses) if losses else math.nan,
        "slice_loss": trainer.best_loss if trainer.slice else math.nan,
        "best_step": float(trainer.best_step if trainer.slice else trainer.steps),
        "steps": float(trainer.steps),
        "heads": float(1 if trainer.model.spread is None else trainer.model.spread.out_features),
        "truncated": float(sum(any(text.cut for text in item.texts) for item in items)),
        **({} if tie is None else {"tie": tie}),
    }


def _items(
    model: RewardModel, data: Sequence[Preference] | Sequence[Rating], config: RewardConfig
) -> tuple[list[Any], dict[str, float]]:
    """The items that may be trained on, and how many of what they are."""
    ratings = [row for row in data if isinstance(row, Rating)]
    pairs = [row for row in data if isinstance(row, Preference)]
    if config.loss == "regression":
        if pairs:
            raise ConfigError("reward.loss regression learns ratings, and these are pairs")
        learnt, spread = rated(ratings, model.read)
        model.classifier.config.reward_mean = spread.mean
        model.classifier.config.reward_deviation = spread.deviation
        return learnt, {"ratings_train": float(len(learnt))}
    if ratings:
        raise ConfigError(f"reward.loss {config.loss} learns pairs, and these are ratings")
    voted = [row for row in pairs if not row.held_out and row.kind != "evaluation"]
    judged = examples(voted, model.read, soft=config.soft_labels)
    usable = decided(judged)
    votes = [vote for row in voted for vote in row.votes]
    return usable, {
        "pairs_train": float(len(usable)),
        "equal_replies": float(len(judged) - len(usable)),
        "votes_train": float(len(votes)),
        "annotators": float(len({vote.annotator for vote in votes})),
    }


def _optimise(trainer: Trainer[Any], work: Work, fingerprint: str) -> None:
    """Do all steps that are not done yet; a linear probe has none."""
    if not trainer.steps:
        work.guard()
        work.report(1, 1, {})
        return
    done = trainer.resume(work.checkpoints, fingerprint)
    if done == 0:
        trainer.judge_epoch(0)  # the probe alone may be best
    work.guard()
    while done < trainer.steps:
        metrics = trainer.step(done)
        done += 1
        if done % trainer.per_epoch == 0 or done == trainer.steps:
            metrics["slice_loss"] = trainer.judge_epoch(done)
        work.report(done, trainer.steps, metrics)
        try:
            work.guard()
        except Stopped:
            trainer.save(work.checkpoints, done, fingerprint)
            raise
        if done % trainer.config.checkpoint_every == 0:
            trainer.save(work.checkpoints, done, fingerprint)


def _fingerprint(weights: str, config: RewardConfig, seed: int, items: Sequence[Item]) -> str:
    settings = to_dict(config)
    settings.pop("checkpoint_every")
    digest = hashlib.sha256(json.dumps([weights, settings, seed]).encode())
    for item in items:
        # All that a pair or a rating teaches, with its texts as tokens.
        told = {k: v for k, v in vars(item).items() if k not in ("first", "second", "text")}
        told |= {"texts": [text.ids for text in item.texts]}
        digest.update(json.dumps(told).encode())
    return digest.hexdigest()
