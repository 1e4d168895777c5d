"""One PPO update: from queries to the weights after it.

`PPO.step` reads in the order of Ziegler et al. 2019 (arXiv 1909.08593). Everything random in update
n is a function of the seed and n. All of an update is in this file, experience.py, actor_critic.py
and losses_gae_kl.py.

Shapes: B queries with a response each, of up to R tokens.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.rlhf.language.generation import Response
from training.rlhf.metrics import reward_hacking
from training.rlhf.ppo.actor_critic import ActorCritic, Reading
from training.rlhf.ppo.experience import Experience, Rollouts
from training.rlhf.ppo.losses_gae_kl import (
    KLController,
    LossTerms,
    RunningScale,
    explained_variance,
    gae,
    kl_per_token,
    masked_mean,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)
from training.rlhf.run import distributed
from training.rlhf.run.failures import Diverged

SKIPS_ALLOWED = 3
"""Optimiser steps in a row that may be skipped for a gradient that is not finite."""


class PPO:
    """The learner: `step` is one update."""

    def __init__(self, rollouts: Rollouts) -> None:
        self.rollouts, self.actor = rollouts, rollouts.actor
        self.config, self.seed = rollouts.config, rollouts.seed
        cfg = self.config
        horizon = cfg.kl_horizon or math.ceil(cfg.updates * cfg.batch_size / 10)
        self.kl = KLController(cfg.kl_coef, cfg.kl_target, horizon)
        self.scale = RunningScale()
        groups = _trained(self.actor)
        distributed.spread([p for group in groups for p in group])
        self.optimizer = torch.optim.AdamW(
            [{"params": group} for group in groups],
            lr=cfg.learning_rate,
            weight_decay=cfg.weight_decay,
            fused=True,
        )
        self.skipped = 0

    def step(self, update: int) -> dict[str, float]:
        """Sample responses, score them, improve policy and critic; return the update's metrics.

        Raises:
            Diverged: scores or gradients stopped being finite.
        """
        cfg, rollouts = self.config, self.rollouts
        queries = rollouts.queries(update)  # B
        responses = rollouts.respond(queries, update)  # B
        scores = rollouts.score(queries, responses)  # (B,)
        shaped = self._shape(scores, responses)  # (B,)
        # From zero an untaught critic would take mean / clip_value updates to the mean score, and
        # until then whiten its offset into a slope: the nearer a token is to the end, the worse.
        self.actor.value_head.begin_at(shaped.mean())
        batch = rollouts.batch(queries, responses)
        old, ref_logprobs, first_readings = rollouts.read(batch, update)
        mask, logprobs, values = batch.mask, old.logprobs, old.values  # (B, R) each
        kl = kl_per_token(logprobs, ref_logprobs, cfg.kl_estimator)  # (B, R)
        rewards = token_rewards(shaped, kl, mask, kl_coef=self.kl.coef)  # (B, R)
        if cfg.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        advantages, returns = gae(rewards, values, mask, gamma=cfg.gamma, lam=cfg.lam)
        if cfg.whiten_advantages:
            advantages = whiten(advantages, mask)
        experience = Experience(batch, logprobs, values, advantages, returns)
        metrics = self._describe(experience, responses, scores, old.entropy, ref_logprobs)
        if not self.beyond(metrics):
            metrics |= self._optimise(update, experience, first_readings)
            self.kl.update(metrics["kl"], cfg.batch_size)
        return metrics

    def beyond(self, metrics: dict[str, float]) -> bool:
        """True where the policy has drifted further from the reference than the round allows."""
        return self.config.stop_kl is not None and metrics["kl"] > self.config.stop_kl

    def _shape(self, scores: Tensor, responses: Sequence[Response]) -> Tensor:
        """Scores (B,) as they enter the last token's reward: scaled, clipped, with penalties."""
        cfg, device = self.config, scores.device
        finished = torch.tensor([float(reply.finished) for reply in responses], device=device)
        lengths = torch.tensor([len(reply.ids) for reply in responses], device=device)
        if cfg.normalise_scores:
            self.scale.update(scores)
            scores = self.scale.normalise(scores)
        if cfg.score_clip is not None:
            scores = scores.clamp(-cfg.score_clip, cfg.score_clip)
        scores = scores - cfg.missing_eos_penalty * (1 - finished)
        return scores - cfg.length_penalty * lengths

    # Optimisation

    def _optimise(
        self, update: int, experience: Experience, first_readings: Sequence[Reading]
    ) -> dict[str, float]:
        """Several epochs over one batch; one optimiser step per minibatch."""
        cfg = self.config
        steps: list[dict[str, float]] = []
        self.actor.model.train(cfg.gradient_checkpointing)
        self._set_learning_rate(update)
        for epoch in range(cfg.epochs):
            for minibatch in self.rollouts.minibatches(experience.batch, update, epoch=epoch):
                # Until the first step the weights are those that the batch was read with.
                steps.append(self._step_on(minibatch, experience, [] if steps else first_readings))
            kl = steps[-1]["approx_kl"]
            if cfg.target_update_kl is not None and kl > cfg.target_update_kl:
                break
        means = {key: sum(s[key] for s in steps) / len(steps) for key in steps[0]}
        return means | {"optimiser_steps": float(len(steps)), "approx_kl": steps[-1]["approx_kl"]}

    def _step_on(
        self, minibatch: list[Tensor], experience: Experience, readings: Sequence[Reading]
    ) -> dict[str, float]:
        """Accumulate the gradient of one minibatch, clip it, step; return its metrics.

        Args:
            minibatch: the rows of each pass, those of this process.
            readings: of each pass, where the policy has read it with these weights already.
        """
        cfg, passes = self.config, []
        self.optimizer.zero_grad(set_to_none=True)
        # Losses are means over the response tokens of the whole minibatch, in all passes and
        # processes: with a mean per pass the cut would weigh the tokens of short responses more.
        tokens = distributed.total(experience.batch.lengths[torch.cat(minibatch)].sum())
        read: Sequence[Reading | None] = readings or [None] * len(minibatch)
        for rows, reading in zip(minibatch, read, strict=True):
            part = experience.select(rows)
            terms = self._loss_terms(part, reading).share_of(tokens, part.batch.mask)
            loss = terms.policy_loss + cfg.value_coef * terms.value_loss
            torch.autograd.backward(loss - cfg.entropy_coef * terms.entropy)
            passes.append(terms.stacked().detach())
        distributed.sum_gradients([p for group in _trained(self.actor) for p in group])
        totals = distributed.total(functools.reduce(torch.add, passes))
        norms = self._clip_gradients()
        finite = bool(torch.stack([*norms, totals.sum()]).isfinite().all())
        if finite:
            self.optimizer.step()
        self._count_skip(finite)
        metrics = {name: float(term) for name, term in vars(LossTerms(*totals.cpu())).items()}
        del metrics["entropy"]  # `_describe` tells that of the whole batch, before the update
        return metrics | {"grad_norm": float(norms[0]), "skipped": float(not finite)}

    def _loss_terms(self, part: Experience, reading: Reading | None) -> LossTerms:
        """Losses and what is watched beside them, per token of one pass."""
        cfg = self.config
        new = reading or self.actor.read(part.batch, temperature=cfg.temperature)
        actor, clipped = policy_loss(
            new.logprobs, part.logprobs, part.advantages, clip=cfg.clip_ratio
        )
        critic = value_loss(new.values, part.values, part.returns, clip=cfg.clip_value)
        # KL(old, new): the tokens are the old policy's.
        approx_kl = kl_per_token(part.logprobs, new.logprobs.detach(), "k3")
        return LossTerms(actor, critic, new.entropy, clipped, approx_kl)

    def _clip_gradients(self) -> list[Tensor]:
        """Clip policy and value head apart, so that a surprised critic does not slow the policy;
        return the norms before."""
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
        share = cfg.rate_share(update)
        head = cfg.learning_rate if cfg.critic_learning_rate is None else cfg.critic_learning_rate
        for group, rate in zip(self.optimizer.param_groups, (cfg.learning_rate, head), strict=True):
            group["lr"] = rate * share

    def _describe(
        self,
        experience: Experience,
        responses: Sequence[Response],
        scores: Tensor,
        entropy: Tensor,
        ref_logprobs: Tensor,
    ) -> dict[str, float]:
        mask, values, returns = experience.batch.mask, experience.values, experience.returns
        said = [reply.ids for reply in responses]
        finished = [float(reply.finished) for reply in responses]
        return {
            "reward": float(scores.mean()),
            "reward_deviation": float(scores.std(correction=0)),
            "kl": float(((experience.logprobs - ref_logprobs) * mask).sum(1).mean()),
            "kl_coef": self.kl.coef,
            "entropy": float(masked_mean(entropy, mask)),
            # Rises when the text is garbled, however much the score likes it.
            "reference_perplexity": float((-masked_mean(ref_logprobs, mask)).exp()),
            **reward_hacking.of_replies(said, finished),
            "explained_variance": float(explained_variance(values, returns, mask)),
        }


def _trained(actor: ActorCritic) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of the policy, and of the value head."""
    return list(actor.parameters().values()), list(actor.value_head.parameters())
