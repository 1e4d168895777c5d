"""The optimiser loop of a reward model, which resumes exactly.

Everything random in epoch n is a function of the seed and n; with what a checkpoint holds, a run
that was killed and resumed equals the uninterrupted one bit for bit (CPU, fixed threads).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.rlhf import acquire
from training.rlhf.config import ConfigError, RewardConfig
from training.rlhf.language import lora_adapters
from training.rlhf.language.reward_tokens import Text
from training.rlhf.metrics.arrays import Floats
from training.rlhf.reward.reward_data import Example, Item, SomeItem, bootstraps, passes, split
from training.rlhf.reward.reward_losses import Objective
from training.rlhf.reward.reward_model import RewardModel
from training.rlhf.run import checkpoints, distributed, ranks
from training.rlhf.run.failures import Diverged

MAX_GRAD_NORM = 1.0
PROBE_PAIRS = 10_000
"""Pairs that the score head is first fitted to, at most: more hardly move it, and their features
would have to be in memory together."""
TIE_LEARNING_RATE = 0.01
"""Of the tie models' one parameter: it starts where the data put it, and has little way to go."""


Features = dict[tuple[tuple[int, ...], int], Tensor]
"""The score head's input, (H,), by the text's tokens and how many of them are the reply."""


def _key(text: Text) -> tuple[tuple[int, ...], int]:
    return tuple(text.ids), text.reply


def may_probe(model: RewardModel, config: RewardConfig) -> bool:
    """True where the score head starts from a fit. One that has learnt already is kept."""
    wanted = config.probe or config.linear_probe
    return wanted and model.head is not None and not bool(model.head.weight.any())


def features_of(
    model: RewardModel, items: Sequence[Item], config: RewardConfig, known: Features
) -> Features:
    """The features of those items that are not known, for every fit on the same trunk; empty where
    no head is fitted, or where they are too many to be kept."""
    texts = {_key(text): text for i in items if isinstance(i, Example) for text in i.texts}
    texts = {key: text for key, text in texts.items() if key not in known}
    if not texts or len(items) > PROBE_PAIRS or not may_probe(model, config):
        return {}
    read = model.in_batches(list(texts.values()), model.features, batch_size=64)
    return dict(zip(texts, read, strict=True))


class Trainer(Generic[SomeItem]):
    """One reward model in training; `step` is one optimiser step."""

    def __init__(
        self,
        model: RewardModel,
        items: list[SomeItem],
        config: RewardConfig,
        *,
        seed: int,
        features: Features | None = None,
    ) -> None:
        """Args:
        features: of the items' texts by the trunk as it is, where they were read already.
        """
        self.model, self.config, self.seed = model, config, seed
        self.features = features or {}
        self.train: list[SomeItem]
        self.slice: list[SomeItem]
        self.train, self.slice = split(items, config)
        self.per_epoch = math.ceil(len(self.train) / config.batch_size)
        self.steps = max(1, math.ceil(config.epochs * self.per_epoch))
        if config.linear_probe:
            self.steps = 0
        self.times = bootstraps(items, config.heads, seed=seed)
        self.probes = may_probe(model, config)
        fitted = self.probes or self._spread_is_new()
        centre = self._fit_head(self.train) if fitted else 0.0
        self.objective = Objective(config, self.train, centre=centre).to(model.device)
        if config.lora is not None and self.steps:
            model.classifier = lora_adapters.new_classifier_adapter(model.classifier, config.lora)
        weights = [p for p in model.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": weights, "peak": config.learning_rate}]
        if self.objective.tie is not None:
            tie = {"params": [self.objective.tie], "peak": TIE_LEARNING_RATE, "weight_decay": 0.0}
            groups.append(tie)
        distributed.spread(self.parameters().values())
        # Fused: one kernel per step, and no per-tensor Python on a machine without a GPU.
        self.optimizer = torch.optim.AdamW(
            groups,
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
        """The parameters that are trained, by name."""
        weights = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        return weights | {f"objective.{n}": p for n, p in self.objective.named_parameters()}

    def _fit_head(self, items: Sequence[SomeItem]) -> float:
        """Set the score head to the posterior mean of a Bayesian fit on the trunk as it is, unless
        it has learnt already, and the heads of an ensemble to fits of their own.

        Returns the mean score of the texts, which the centring term then keeps; 0 of a head that
        was there.
        """
        pairs = [item for item in items if isinstance(item, Example)]
        if not pairs or self.model.head is None:
            return 0.0
        if len(pairs) > PROBE_PAIRS:
            drawn = np.random.default_rng([self.seed, 4]).permutation(len(pairs))[:PROBE_PAIRS]
            pairs = [pairs[i] for i in sorted(drawn.tolist())]
        mass = sum(example.weight for example in pairs) / len(pairs)
        texts = [text for example in pairs for text in example.texts]
        features = self.trunk_features(texts).double().numpy()
        spread = np.maximum(features.std(axis=0), 1e-6)
        x = (features[0::2] - features[1::2]) / spread
        if not self.probes:
            there = self.model.head.weight[0].detach().cpu().double().numpy() * spread
            self._fit_spread(pairs, x, spread, there, around=there)
            return 0.0
        fit = acquire.fit(
            x,
            np.array([example.value for example in pairs]),
            precision=acquire.prior_precision(x),
            weights=np.array([example.weight for example in pairs]) / mass,
        )
        weights = fit.mean / spread
        with torch.no_grad():
            self.model.head.weight.copy_(torch.from_numpy(weights)[None])
        self._fit_spread(pairs, x, spread, fit.mean, around=np.zeros(len(fit.mean)))
        return float(features.mean(axis=0) @ weights)

    def _spread_is_new(self) -> bool:
        layer = self.model.spread
        return layer is not None and not bool(layer.weight.any())

    def _fit_spread(
        self, pairs: Sequence[Example], x: Floats, scale: Floats, start: Floats, *, around: Floats
    ) -> None:
        """Set what each head of an ensemble adds: a fit to its own bootstrap of the prompts, with a
        prior of its own (Osband et al. 2018, arXiv 1806.03335), less the mean of all.

        Where the votes say nothing every head stays at its prior, so they disagree the more, the
        less a reply is like those that were voted on. Bootstraps alone would all say zero there.
        """
        layer = self.model.spread
        if layer is None:
            return
        precision = acquire.prior_precision(x)
        rng = np.random.default_rng([self.seed, 5])
        value = np.array([pair.value for pair in pairs])
        mass = np.array([pair.weight for pair in pairs])
        fits = []
        for times in np.array([self.times[pair.prompt_id] for pair in pairs]).T:
            drawn = rng.normal(0.0, 1 / math.sqrt(precision), len(start))
            own = acquire.fit(
                x,
                value,
                precision=precision,
                weights=mass * times / mass.mean(),
                start=start,
                around=around + drawn,
            )
            fits.append(own.mean / scale)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.array(fits) - np.mean(fits, axis=0)))

    def trunk_features(self, texts: Sequence[Text]) -> Tensor:
        """Features (n, H) of the trunk as it is, those that are known or all of them."""
        keys = [_key(text) for text in texts]
        if all(key in self.features for key in keys):
            return torch.stack([self.features[key] for key in keys])
        return self.model.in_batches(texts, self.model.features, batch_size=64)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The pairs in this epoch's order."""
        return np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.train))

    def step(self, step: int) -> dict[str, float]:
        """Optimiser step number `step`, counted from 0. Of several processes each reads its share
        of the batch.

        Raises:
            Diverged: the loss or the gradient is no longer finite; no weight was changed.
        """
        epoch, place = divmod(step, self.per_epoch)
        size = self.config.batch_size
        drawn = self.order(epoch)[place * size : (place + 1) * size]
        batch = [self.train[i] for i in drawn.tolist()]
        self._set_learning_rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss, right, decided = 0.0, 0.0, 0
        for part in passes(ranks.share(batch), tokens=self.config.pass_tokens):
            with self._mixed_precision():
                scores = self.scores(part)
                share = self._loss(scores, part).sum() / len(batch)
            torch.autograd.backward(share)
            loss += float(share.detach())
            for row, item in zip(scores.detach().mean(-1).tolist(), part, strict=True):
                if len(row) == 2 and item.value != 0.5:
                    decided += 1
                    right += 0.5 if row[0] == row[1] else (row[0] > row[1]) == (item.value > 0.5)
        distributed.sum_gradients(self.parameters().values())
        sums = distributed.total(torch.tensor([loss, right, decided], dtype=torch.float64))
        loss, right, decided = sums.tolist()
        norm = float(nn.utils.clip_grad_norm_(self.parameters().values(), MAX_GRAD_NORM))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise Diverged(
                f"the reward model's loss is {loss:.3g} and its gradient {norm:.3g} at step"
                f" {step + 1}: lower reward.learning_rate, or check votes' weights and the dtype"
            )
        self.optimizer.step()
        self.losses = [*self.losses, loss][-self.per_epoch :]
        return {
            "loss": loss,
            "train_accuracy": right / decided if decided else math.nan,
            "grad_norm": norm,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }

    def scores(self, items: Sequence[SomeItem]) -> Tensor:
        """Scores of the items' texts by each head, (n, k, heads)."""
        texts = [text for item in items for text in item.texts]
        scores = self.model.by_head(texts)
        return scores.view(len(items), -1, scores.shape[-1])

    def _loss(self, scores: Tensor, items: Sequence[SomeItem]) -> Tensor:
        """The loss of each item, (n,): the heads' mean, each on its bootstrap of the prompts."""
        heads = scores.shape[-1]
        if heads == 1:
            return self.objective.loss(scores[..., 0], items)
        each = []
        for k in range(heads):
            drawn = [replace(i, weight=i.weight * self.times[i.prompt_id][k]) for i in items]
            each.append(self.objective.loss(scores[..., k], drawn))
        return torch.stack(each).mean(dim=0)

    def _mixed_precision(self) -> Any:
        device, dtype = self.model.device.type, getattr(torch, self.config.dtype)
        return nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype)

    def _set_learning_rate(self, step: int) -> None:
        warmup = max(1, round(self.config.warmup_ratio * self.steps))
        share = min((step + 1) / warmup, 1 - step / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share

    @torch.no_grad()
    def judge_epoch(self, step: int) -> float:
        """Loss on the slice; the best weights so far are kept. NaN without a slice."""
        if not self.slice:
            return math.nan
        texts = [text for item in self.slice for text in item.texts]
        scores = self.model.in_batches(texts, self.model.forward, batch_size=64)
        misfit = self.objective.misfit(
            scores.view(len(self.slice), -1).to(self.model.device), self.slice
        ).cpu()
        weight = torch.tensor([item.weight for item in self.slice])
        loss = float((misfit * weight).sum() / weight.sum())
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, step
            self.best = {name: p.detach().clone() for name, p in self.parameters().items()}
        return loss

    @torch.no_grad()
    def keep_best(self) -> None:
        """Go back to the weights that were best on the slice.

        When no step improved on the fitted head, the head is fitted once more with the slice.
        """
        if self.best is None:
            return
        for name, parameter in self.parameters().items():
            parameter.copy_(self.best[name])
        if self.best_step == 0 and self.probes:
            self._fit_head(self.train + self.slice)

    # Resuming

    def save(self, folder: Path, step: int, fingerprint: str) -> None:
        """Write all that the steps after `step` depend on; Diverged when a weight is not finite."""
        for name, parameter in self.parameters().items():
            if not bool(parameter.isfinite().all()):
                raise Diverged(f"{name} is no longer finite: lower reward.learning_rate")
        if ranks.rank() != 0:
            return
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
            raise ConfigError(
                f"{folder} holds checkpoints of another base, or of other settings, votes or seed"
            )
        for name, parameter in self.parameters().items():
            parameter.copy_(saved.tensors[f"now.{name}"])
        best = {n[5:]: t for n, t in saved.tensors.items() if n.startswith("best.")}
        self.best = {name: tensor.to(self.model.device) for name, tensor in best.items()} or None
        self.optimizer.load_state_dict(saved.state["optimizer"])
        self.best_loss, self.best_step = saved.state["best_loss"], saved.state["best_step"]
        self.losses = list(saved.state["losses"])
        return saved.step
