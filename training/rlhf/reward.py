"""Training a reward model on votes.

The loss is the Bradley-Terry log-likelihood of all votes of a pair at once: cross-entropy between
sigmoid(r_a - r_b) and the vote fraction, weighted by the votes' mass (see rows.label).

The loop is our own. TRL's RewardTrainer (1.16) keeps only chosen, rejected and margin: no vote
fractions, no weights, no ties, and it drops pairs longer than its limit without a word. What
would remain of it in a subclass is the optimiser step, and importing it costs more CPU time
than training on a few hundred votes.

Everything random in epoch n is a function of the seed and n; with what a checkpoint holds, a run
that was killed and resumed equals the uninterrupted one bit for bit (CPU, fixed threads).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, TaskType, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F

from training.rlhf import acquire, calibration, checkpoints, reward_model, rows
from training.rlhf.config import ConfigError, LoraConfig, RewardConfig, to_dict
from training.rlhf.models import seed_everything
from training.rlhf.reward_data import Example, bootstrap, examples, split
from training.rlhf.reward_model import RewardModel
from training.rlhf.rows import Preference
from training.rlhf.rundir import Stopped

Report = Callable[[int, int, dict[str, float]], None]
Guard = Callable[[], None]

MAX_GRAD_NORM = 1.0


class Trainer:
    """One reward model in training; `step` is one optimiser step."""

    def __init__(
        self, model: RewardModel, found: list[Example], config: RewardConfig, *, seed: int
    ) -> None:
        self.model, self.config, self.seed = model, config, seed
        self.train, self.slice = split(found, config)
        if not self.train:
            raise ConfigError("no pair with votes to train the reward model on")
        self.mass = sum(example.weight for example in self.train) / len(self.train)
        self.per_epoch = math.ceil(len(self.train) / config.batch_size)
        self.steps = max(1, math.ceil(config.epochs * self.per_epoch))
        self.centre = self._fit_head(self.train) if config.probe else 0.0
        if config.lora is not None:
            model.classifier = _with_adapter(model.classifier, config.lora)
        # Fused: one kernel per step, and no per-tensor Python on a machine without a GPU.
        self.optimizer = torch.optim.AdamW(
            list(self.parameters().values()),
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.best: dict[str, Tensor] | None = None
        self.best_loss = math.inf
        self.best_step = 0
        self.losses: list[float] = []
        """Of the last epoch's worth of steps."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _fit_head(self, found: Sequence[Example]) -> float:
        """Set the score head to the posterior mean of a Bayesian fit on the trunk as it is.

        Returns the mean score of the texts, which the centring term then keeps.
        """
        if not isinstance(self.model.head, nn.Linear):
            return 0.0
        texts = [text for example in found for text in (example.first, example.second)]
        read = self.model.in_batches(texts, self.model.features, batch_size=64)
        features = read.double().numpy()
        spread = np.maximum(features.std(axis=0), 1e-6)
        x = (features[0::2] - features[1::2]) / spread
        fit = acquire.fit(
            x,
            np.array([example.value for example in found]),
            precision=acquire.prior_precision(x),
            weights=np.array([example.weight for example in found]) / self.mass,
        )
        weights = fit.mean / spread
        with torch.no_grad():
            self.model.head.weight.copy_(torch.from_numpy(weights)[None])
        return float(features.mean(axis=0) @ weights)

    def order(self, epoch: int) -> list[int]:
        """The pairs in this epoch's order."""
        rng = np.random.default_rng([self.seed, 1, epoch])
        return [int(i) for i in rng.permutation(len(self.train))]

    def step(self, step: int) -> dict[str, float]:
        """Optimiser step number `step`, counted from 0."""
        epoch, place = divmod(step, self.per_epoch)
        size = self.config.batch_size
        batch = [self.train[i] for i in self.order(epoch)[place * size : (place + 1) * size]]
        self._set_learning_rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        with self._mixed_precision():
            loss, logits = self._loss(batch)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters().values(), MAX_GRAD_NORM)
        self.optimizer.step()
        values = torch.tensor([example.value for example in batch])
        decided = values != 0.5
        right = ((logits.detach().cpu() > 0) == (values > 0.5))[decided].float()
        self.losses = [*self.losses, float(loss.detach())][-self.per_epoch :]
        return {
            "loss": self.losses[-1],
            "train_accuracy": float(right.mean()) if len(right) else math.nan,
            "grad_norm": float(norm),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }

    def _loss(self, batch: Sequence[Example]) -> tuple[Tensor, Tensor]:
        """Weighted mean cross-entropy with vote fractions, plus centring; and the logits (B,)."""
        texts = [example.first for example in batch] + [example.second for example in batch]
        scores = self.model(texts)
        a, b = scores[: len(batch)], scores[len(batch) :]
        device = scores.device
        value = torch.tensor([example.value for example in batch], device=device)
        weight = torch.tensor([example.weight / self.mass for example in batch], device=device)
        # The margin is asked in the direction and the measure in which the votes agree.
        logits = a - b - self.config.margin * (2 * value - 1)
        loss = F.binary_cross_entropy_with_logits(logits, value, weight=weight)
        return loss + self.config.centre * (a + b - 2 * self.centre).square().mean(), a - b

    def _mixed_precision(self) -> Any:
        device, dtype = self.model.device.type, getattr(torch, self.config.dtype)
        return nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype)

    def _set_learning_rate(self, step: int) -> None:
        warmup = max(1, round(self.config.warmup_ratio * self.steps))
        share = min((step + 1) / warmup, 1 - step / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share

    @torch.no_grad()
    def judge_epoch(self, step: int) -> float:
        """Loss on the slice; the best weights so far are kept. NaN without a slice."""
        if not self.slice:
            return math.nan
        logits, value = self.logits(self.slice), [example.value for example in self.slice]
        weight = torch.tensor([example.weight for example in self.slice])
        losses = F.binary_cross_entropy_with_logits(
            logits, torch.tensor(value), weight=weight, reduction="sum"
        )
        loss = float(losses / weight.sum())
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, step
            self.best = {name: p.detach().clone() for name, p in self.parameters().items()}
        return loss

    def logits(self, found: Sequence[Example]) -> Tensor:
        """r_a - r_b of every pair, (n,)."""
        texts = [text for example in found for text in (example.first, example.second)]
        scores = self.model.in_batches(texts, self.model.forward, batch_size=64)
        return scores[0::2] - scores[1::2]

    @torch.no_grad()
    def keep_best(self) -> None:
        """Go back to the weights that were best on the slice.

        When no step improved on the fitted head, the head is fitted once more with the slice.
        """
        if self.best is None:
            return
        for name, parameter in self.parameters().items():
            parameter.copy_(self.best[name])
        if self.best_step == 0 and self.config.probe:
            self._fit_head([*self.train, *self.slice])

    # Resuming

    def save(self, folder: Path, step: int, fingerprint: str) -> None:
        """Write all that the steps after `step` depend on."""
        tensors: dict[str, Tensor] = {f"now.{n}": p for n, p in self.parameters().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in (self.best or {}).items()}
        state = {
            "optimizer": self.optimizer.state_dict(),
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "losses": self.losses,
            "fingerprint": fingerprint,
        }
        checkpoints.save(folder, step, tensors, state)

    @torch.no_grad()
    def resume(self, folder: Path, fingerprint: str) -> int:
        """Restore the newest checkpoint; returns the number of steps done."""
        saved = checkpoints.latest(folder)
        if saved is None:
            return 0
        if saved.state["fingerprint"] != fingerprint:
            raise ConfigError(f"{folder} holds checkpoints of other settings, votes or seed")
        for name, parameter in self.parameters().items():
            parameter.copy_(saved.tensors[f"now.{name}"])
        best = {n[5:]: t for n, t in saved.tensors.items() if n.startswith("best.")}
        self.best = {name: tensor.to(self.model.device) for name, tensor in best.items()} or None
        self.optimizer.load_state_dict(saved.state["optimizer"])
        self.best_loss, self.best_step = saved.state["best_loss"], saved.state["best_step"]
        self.losses = list(saved.state["losses"])
        return saved.step


def train(
    base: str | Path,
    preferences: Sequence[Preference],
    config: RewardConfig,
    out: str | Path,
    *,
    seed: int,
    device: torch.device,
    checkpoints: Path,
    report: Report,
    guard: Guard,
    resample: bool = False,
) -> tuple[RewardModel, dict[str, float]]:
    """Train a reward model and write it to `out`.

    Args:
        base: the starter (its trunk is used) or, for a warm start, an earlier reward model.
        preferences: all pairs; held-out pairs, evaluation pairs and pairs without votes are
            left out.
        checkpoints: folder of the resume state; training goes on from what is there.
        report: called with (steps done, steps in all, numbers) after every step.
        guard: called at the edge of every step and before every checkpoint; raises to end
            training. `Stopped` does so after a checkpoint.
        resample: train on a bootstrap of the prompts (the judge).

    Returns:
        The model, and loss (last epoch's mean), slice_loss, best_step, steps, pairs_train,
        votes_train and truncated (pairs that lost tokens).

    Raises:
        ConfigError: nothing to train on, or checkpoints of another run.
    """
    seed_everything(seed)
    model = reward_model.new(
        base, pooling=config.pooling, max_length=config.max_length, device=device
    )
    everything = examples(preferences, model.read, soft=config.soft_labels)
    chosen = bootstrap(everything, seed=seed) if resample else everything
    trainer = Trainer(model, chosen, config, seed=seed)
    _run(trainer, checkpoints, _fingerprint(config, seed, chosen), report, guard)
    trainer.keep_best()
    if isinstance(model.classifier, PeftModel):
        model.classifier = model.classifier.merge_and_unload()
    model.eval()
    model.save(out)
    return model, {
        "loss": sum(trainer.losses) / max(1, len(trainer.losses)),
        "slice_loss": trainer.best_loss if trainer.slice else math.nan,
        "best_step": float(trainer.best_step if trainer.slice else trainer.steps),
        "steps": float(trainer.steps),
        "pairs_train": float(len(everything)),
        "votes_train": float(_votes(preferences)),
        "truncated": float(sum(e.first.cut + e.second.cut > 0 for e in everything)),
    }


def _run(trainer: Trainer, folder: Path, fingerprint: str, report: Report, guard: Guard) -> None:
    """All steps that are not done yet."""
    done = trainer.resume(folder, fingerprint)
    if done == 0:
        trainer.judge_epoch(0)  # the probe alone may be best
    guard()
    while done < trainer.steps:
        metrics = trainer.step(done)
        done += 1
        if done % trainer.per_epoch == 0 or done == trainer.steps:
            metrics["slice_loss"] = trainer.judge_epoch(done)
        report(done, trainer.steps, metrics)
        try:
            guard()
        except Stopped:
            trainer.save(folder, done, fingerprint)
            raise
        if done % trainer.config.checkpoint_every == 0:
            trainer.save(folder, done, fingerprint)


def _with_adapter(classifier: Any, lora: LoraConfig) -> PeftModel:
    target: Any = lora.target_modules
    config = PeftLoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=target if isinstance(target, str) else list(target),
        task_type=TaskType.SEQ_CLS,  # the score head is trained whole
    )
    return get_peft_model(classifier, config)


def _fingerprint(config: RewardConfig, seed: int, found: Sequence[Example]) -> str:
    settings = to_dict(config)
    settings.pop("checkpoint_every")
    data = [[e.first.ids, e.second.ids, e.value, e.weight] for e in found]
    return hashlib.sha256(json.dumps([settings, seed, data]).encode()).hexdigest()


def _votes(preferences: Iterable[Preference]) -> int:
    return sum(
        len(row.votes) for row in preferences if not row.held_out and row.kind != "evaluation"
    )


@dataclass(frozen=True)
class HeldOut:
    """Predictions for the held-out pairs with votes: what an honest accuracy is measured on."""

    pair_ids: list[str]
    logits: acquire.Floats
    labels: list[str | None]
    """The side most votes are for; None for a draw."""

    def metrics(self) -> dict[str, float]:
        """accuracy, auc, ece (after cross-fitted temperature scaling), ece_raw, temperature,
        pairs_held_out and ties_held_out. Draws are counted and left out of the rest."""
        decided = np.array([label is not None for label in self.labels], dtype=bool)
        logits = self.logits[decided]
        labels = np.array([float(label == "a") for label in self.labels if label is not None])
        return {
            "accuracy": calibration.accuracy(logits, labels),
            "auc": calibration.auc(logits, labels),
            "ece": calibration.cross_fitted_ece(logits, labels),
            "ece_raw": calibration.ece(logits, labels),
            "temperature": calibration.temperature(logits, labels),
            "pairs_held_out": float(len(logits)),
            "ties_held_out": float((~decided).sum()),
        }


def held_out(model: RewardModel, preferences: Iterable[Preference]) -> HeldOut:
    """Score the held-out pairs with votes. Evaluation pairs are not among them: they compare
    policies, and their texts are easier to tell apart."""
    found = [row for row in preferences if row.held_out and row.votes and row.kind != "evaluation"]
    chats = [row.messages for row in found]
    first = model.score(chats, [row.completion_a for row in found])
    second = model.score(chats, [row.completion_b for row in found])
    return HeldOut(
        pair_ids=[row.pair_id for row in found],
        logits=np.array(first, dtype=np.float64) - np.array(second, dtype=np.float64),
        labels=[rows.verdict(row) for row in found],
    )
