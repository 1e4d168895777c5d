"""One PPO update: from a batch of scored replies to the weights after it.

`PPO.step` reads in the order of Ziegler et al. 2019 (arXiv 1909.08593). Everything random in update
n is a function of the seed and n.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf.config import PPOConfig
from training.rlhf.metrics import reward_hacking
from training.rlhf.ppo import losses
from training.rlhf.ppo.actor_critic import ActorCritic
from training.rlhf.ppo.experience import Collector, Experience
from training.rlhf.reward.score_functions import Score
from training.rlhf.run import checkpoints, distributed
from training.rlhf.run.failures import Diverged

SKIPS_ALLOWED = 3
"""Optimiser steps in a row that may be skipped for a gradient that is not finite."""


class PPO:
    """The learner: `step` is one update."""

    def __init__(
        self,
        actor: ActorCritic,
        tokenizer: Tokenizer,
        prompts: Sequence[dict[str, Any]],
        *,
        score: Score,
        config: PPOConfig,
        seed: int,
    ) -> None:
        self.actor, self.config, self.seed = actor, config, seed
        self.collector = Collector(actor, tokenizer, prompts, score=score, config=config, seed=seed)
        episodes = config.updates * config.batch_size
        self.kl = losses.KLController(
            config.kl_coef, config.kl_target, config.kl_horizon or math.ceil(episodes / 10)
        )
        self.scale = losses.RunningScale()
        distributed.spread([p for group in _trained(actor) for p in group])
        self.optimizer = _optimizer(actor, config)
        self.skipped = 0

    def step(self, update: int) -> dict[str, float]:
        """Sample replies, score them, improve policy and critic; return the update's metrics.

        Raises:
            Diverged: scores or gradients stopped being finite.
        """
        cfg = self.config
        seen = self.collector.collect(update)
        scores = self._shape(seen)
        seen = self._begin_critic(seen, scores.mean())
        mask, old = seen.batch.mask, seen.old
        kl = losses.kl_per_token(old.logprobs, seen.ref_logprobs, cfg.kl_estimator)
        rewards = losses.token_rewards(scores, kl, mask, kl_coef=self.kl.coef)
        if cfg.whiten_rewards:
            rewards = losses.whiten(rewards, mask, shift_mean=False)
        advantages, returns = losses.gae(rewards, old.values, mask, gamma=cfg.gamma, lam=cfg.lam)
        if cfg.whiten_advantages:
            advantages = losses.whiten(advantages, mask)
        metrics = self._describe(seen, returns)
        if not self.beyond(metrics):
            metrics |= self._optimise(update, seen, advantages, returns)
            self.kl.update(metrics["kl"], cfg.batch_size)
        return metrics

    def beyond(self, metrics: dict[str, float]) -> bool:
        """Whether the policy has drifted further from the reference than the round allows."""
        return self.config.stop_kl is not None and metrics["kl"] > self.config.stop_kl

    def _begin_critic(self, seen: Experience, mean: Tensor) -> Experience:
        """Let a critic that has learnt nothing expect the mean score.

        From zero it would take mean / clip_value updates to get there, and until then whiten the
        offset of the scores into a slope: the nearer the end of a reply, the worse, and the end
        token worst of all.
        """
        if not self.actor.value_head.begin_at(mean):
            return seen
        old = dataclasses.replace(seen.old, values=seen.old.values + mean * seen.batch.mask)
        # What this adds on padding is masked in the loss.
        fresh = [dataclasses.replace(part, values=part.values + mean) for part in seen.fresh]
        return dataclasses.replace(seen, old=old, fresh=fresh)

    def _shape(self, seen: Experience) -> Tensor:
        """Turn raw scores (B,) into what is added to the last token's reward."""
        cfg, scores = self.config, seen.scores
        if cfg.normalise_scores:
            self.scale.update(scores)
            scores = self.scale.normalise(scores)
        if cfg.score_clip is not None:
            scores = scores.clamp(-cfg.score_clip, cfg.score_clip)
        scores = scores - cfg.missing_eos_penalty * (1 - seen.finished)
        return scores - cfg.length_penalty * seen.batch.lengths

    # Optimisation

    def _optimise(
        self, update: int, seen: Experience, advantages: Tensor, returns: Tensor
    ) -> dict[str, float]:
        """Several epochs over one batch; one optimiser step per minibatch."""
        cfg, steps = self.config, []
        self.actor.model.train(cfg.gradient_checkpointing)
        self._set_learning_rate(update)
        for epoch in range(cfg.epochs):
            for minibatch in self.collector.minibatches(seen.batch, update, epoch=epoch):
                steps.append(self._step_on(minibatch, seen, advantages, returns))
            kl = steps[-1]["approx_kl"]
            if cfg.target_update_kl is not None and kl > cfg.target_update_kl:
                break
        means = {key: sum(s[key] for s in steps) / len(steps) for key in steps[0]}
        return means | {"optimiser_steps": float(len(steps)), "approx_kl": steps[-1]["approx_kl"]}

    def _step_on(
        self, minibatch: list[Tensor], seen: Experience, advantages: Tensor, returns: Tensor
    ) -> dict[str, float]:
        """Accumulate the gradient of one minibatch, clip it, step; return its metrics."""
        self.optimizer.zero_grad(set_to_none=True)
        tokens = distributed.total(seen.batch.lengths[torch.cat(minibatch)].sum())
        sums = torch.zeros(5, device=self.actor.device)
        for rows in minibatch:
            terms = self._terms(rows, seen, advantages, returns) / tokens
            loss = (
                terms[0] + self.config.value_coef * terms[1] - self.config.entropy_coef * terms[2]
            )
            torch.autograd.backward(loss)
            sums += terms.detach()
        distributed.sum_gradients([p for group in _trained(self.actor) for p in group])
        sums = distributed.total(sums)
        norms = self._clip_gradients()
        finite = bool(torch.stack([*norms, sums.sum()]).isfinite().all())
        if finite:
            self.optimizer.step()
        self._count_skip(finite)
        names = ("policy_loss", "value_loss", "_", "clip_fraction", "approx_kl")
        metrics = dict(zip(names, sums.tolist(), strict=True))
        del metrics["_"]
        return metrics | {"grad_norm": float(norms[0]), "skipped": float(not finite)}

    def _terms(self, rows: Tensor, seen: Experience, advantages: Tensor, returns: Tensor) -> Tensor:
        """Sums over a micro-batch: the two losses, entropy, clipped tokens and KL(old, new)."""
        cfg, part = self.config, seen.batch.select(rows)
        mask = part.mask
        if seen.fresh:
            new = seen.fresh.pop(0)  # its graph goes with it
        else:
            new = self.actor.read(part, temperature=cfg.temperature)

        def pick(whole: Tensor) -> Tensor:
            return whole[rows, : mask.shape[1]]

        old_logprobs = pick(seen.old.logprobs)
        policy, clipped = losses.policy_loss(
            new.logprobs, old_logprobs, pick(advantages), clip=cfg.clip_ratio
        )
        value = losses.value_loss(
            new.values, pick(seen.old.values), pick(returns), clip=cfg.clip_value
        )
        drift = losses.approximate_kl(new.logprobs, old_logprobs)
        parts = torch.stack([policy, value, new.entropy, clipped, drift.detach()])
        return (parts * mask).sum((1, 2))

    def _clip_gradients(self) -> list[Tensor]:
        """Clip policy and value head apart, so that a surprised critic does not slow the policy."""
        most = self.config.max_grad_norm
        return [nn.utils.clip_grad_norm_(group, most) for group in _trained(self.actor)]

    def _count_skip(self, finite: bool) -> None:
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped > SKIPS_ALLOWED:
            raise Diverged(
                f"the gradient was not finite {self.skipped} times in a row: "
                "lower ppo.learning_rate, or use float32"
            )

    def _set_learning_rate(self, update: int) -> None:
        cfg = self.config
        share = rate_share(cfg, update)
        head = cfg.learning_rate if cfg.critic_learning_rate is None else cfg.critic_learning_rate
        for group, rate in zip(self.optimizer.param_groups, (cfg.learning_rate, head), strict=True):
            group["lr"] = rate * share

    def _describe(self, seen: Experience, returns: Tensor) -> dict[str, float]:
        mask, old, said = seen.batch.mask, seen.old, seen.batch.responses
        surprise = -losses.masked_mean(seen.ref_logprobs, mask)
        return {
            "reward": float(seen.scores.mean()),
            "reward_deviation": float(seen.scores.std(correction=0)),
            "kl": float(seen.kl.mean()),
            "kl_coef": self.kl.coef,
            "entropy": float(losses.masked_mean(old.entropy, mask)),
            # Rises when the text is garbled, however much the score likes it.
            "reference_perplexity": float(surprise.exp()),
            **reward_hacking.of_replies(said, seen.finished.tolist()),
            "explained_variance": float(losses.explained_variance(old.values, returns, mask)),
        }

    def check_weights(self) -> None:
        """Raise Diverged when a weight is not finite: such a policy is neither kept nor resumed."""
        for name, tensor in self.tensors().items():
            if not bool(tensor.isfinite().all()):
                raise Diverged(f"{name} is no longer finite: lower ppo.learning_rate")

    # Resuming

    def tensors(self) -> dict[str, Tensor]:
        """All trained weights, for a checkpoint."""
        policy: dict[str, Tensor] = {
            f"policy.{name}": p for name, p in self.actor.parameters().items()
        }
        head = {f"value_head.{name}": p for name, p in self.actor.value_head.named_parameters()}
        return {**policy, **head}

    def state(self) -> dict[str, Any]:
        """What else `step` reads or changes."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "kl_coef": self.kl.coef,
            "scale": dataclasses.asdict(self.scale),
            "skipped": self.skipped,
            "rng": torch.get_rng_state(),  # for score functions that draw
        }

    @torch.no_grad()
    def restore(self, saved: checkpoints.Checkpoint) -> None:
        """Become the learner that `saved` was made from."""
        for name, parameter in self.tensors().items():
            parameter.copy_(saved.tensors[name])
        self.optimizer.load_state_dict(saved.state["optimizer"])
        self.kl.coef = saved.state["kl_coef"]
        self.scale = losses.RunningScale(**saved.state["scale"])
        self.skipped = saved.state["skipped"]
        torch.set_rng_state(saved.state["rng"])


def rate_share(config: PPOConfig, update: int) -> float:
    """Share of the learning rates in an update, counted from 0: warm-up, then decay."""
    if update < config.warmup_updates:
        return (update + 1) / config.warmup_updates
    done = (update - config.warmup_updates) / (config.updates - config.warmup_updates)
    if config.learning_rate_decay == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1 - done if config.learning_rate_decay == "linear" else 1.0


def _trained(actor: ActorCritic) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of the policy, and of the value head."""
    return list(actor.parameters().values()), list(actor.value_head.parameters())


def _optimizer(actor: ActorCritic, cfg: PPOConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [{"params": group} for group in _trained(actor)],
        lr=cfg.learning_rate,
        weight_decay=cfg.weight_decay,
        fused=True,
    )
