"""Proximal policy optimisation of a language model against a score.

Schulman et al. 2017 (arXiv 1707.06347) as Ziegler et al. 2019 (arXiv 1909.08593) applied it to
text; `PPO.step` reads in their order. The score is any function of chats and replies, so a reward
model may have its own tokenizer, and a rule in Python will do.

Everything random in update n is a function of the seed and n, and everything that training changes
is in a checkpoint: on a CPU with a fixed number of threads a run that was killed and resumed equals
the uninterrupted one bit for bit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase as Tokenizer

from training.rlhf import actor_critic, models, objectives
from training.rlhf import checkpoints as disk
from training.rlhf.actor_critic import ActorCritic
from training.rlhf.config import PPOConfig, to_dict
from training.rlhf.experience import Collector, Diverged, Experience, Score, minibatches
from training.rlhf.rundir import Stopped

__all__ = ["PPO", "Diverged", "OtherSettings", "Score", "train"]

SKIPS_ALLOWED = 3
"""Optimiser steps in a row that may be skipped for a gradient that is not finite."""


MEMORY_ADVICE = (
    "raise ppo.gradient_accumulation, switch ppo.gradient_checkpointing on, or lower "
    "ppo.batch_size or ppo.max_new_tokens"
)


class OtherSettings(ValueError):
    """The checkpoints in this folder were made with other settings, prompts or seed."""


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
        self.kl = objectives.KLController(
            config.kl_coef, config.kl_target, config.kl_horizon or math.ceil(episodes / 10)
        )
        self.scale = objectives.RunningScale()
        self.optimizer = _optimizer(actor, config)
        self.skipped = 0

    def step(self, update: int) -> dict[str, float]:
        """Sample replies, score them, improve policy and critic; return the update's metrics.

        Raises:
            Diverged: scores or gradients stopped being finite.
        """
        cfg = self.config
        seen = self.collector.collect(update)
        mask, old = seen.batch.mask, seen.old
        kl = objectives.kl_per_token(old.logprobs, seen.ref_logprobs, cfg.kl_estimator)
        rewards = objectives.token_rewards(self._shape(seen), kl, mask, kl_coef=self.kl.coef)
        if cfg.whiten_rewards:
            rewards = objectives.whiten(rewards, mask, shift_mean=False)
        advantages, returns = objectives.gae(
            rewards, old.values, mask, gamma=cfg.gamma, lam=cfg.lam
        )
        if cfg.whiten_advantages:
            advantages = objectives.whiten(advantages, mask)
        metrics = self._describe(seen, returns)
        if not self.beyond(metrics):
            metrics |= self._optimise(update, seen, advantages, returns)
            self.kl.update(metrics["kl"], cfg.batch_size)
        return metrics

    def beyond(self, metrics: dict[str, float]) -> bool:
        """Whether the policy has drifted further from the reference than the round allows."""
        return self.config.stop_kl is not None and metrics["kl"] > self.config.stop_kl

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
            for minibatch in minibatches(cfg, seed=self.seed, update=update, epoch=epoch):
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
        tokens = seen.batch.lengths[torch.cat(minibatch)].sum()
        sums = torch.zeros(5, device=self.actor.device)
        for rows in minibatch:
            terms = self._terms(rows, seen, advantages, returns) / tokens
            loss = (
                terms[0] + self.config.value_coef * terms[1] - self.config.entropy_coef * terms[2]
            )
            torch.autograd.backward(loss)
            sums += terms.detach()
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
        new = self.actor.read(part, temperature=cfg.temperature)

        def pick(whole: Tensor) -> Tensor:
            return whole[rows, : mask.shape[1]]

        old_logprobs = pick(seen.old.logprobs)
        policy, clipped = objectives.policy_loss(
            new.logprobs, old_logprobs, pick(advantages), clip=cfg.clip_ratio
        )
        value = objectives.value_loss(
            new.values, pick(seen.old.values), pick(returns), clip=cfg.clip_value
        )
        drift = objectives.approximate_kl(new.logprobs, old_logprobs)
        parts = torch.stack([policy, value, new.entropy, clipped, drift.detach()])
        return (parts * mask).sum((1, 2))

    def _clip_gradients(self) -> list[Tensor]:
        """Clip policy and value head apart, so that a surprised critic does not slow the policy."""
        groups = [self.actor.parameters().values(), self.actor.value_head.parameters()]
        return [nn.utils.clip_grad_norm_(group, self.config.max_grad_norm) for group in groups]

    def _count_skip(self, finite: bool) -> None:
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped > SKIPS_ALLOWED:
            raise Diverged(
                f"the gradient was not finite {self.skipped} times in a row: "
                "lower ppo.learning_rate, or use float32"
            )

    def _set_learning_rate(self, update: int) -> None:
        cfg = self.config
        left = 1 - update / cfg.updates if cfg.learning_rate_decay == "linear" else 1.0
        head = cfg.learning_rate if cfg.critic_learning_rate is None else cfg.critic_learning_rate
        for group, rate in zip(self.optimizer.param_groups, (cfg.learning_rate, head), strict=True):
            group["lr"] = rate * left

    def _describe(self, seen: Experience, returns: Tensor) -> dict[str, float]:
        mask, old = seen.batch.mask, seen.old
        surprise = -objectives.masked_mean(seen.ref_logprobs, mask)
        return {
            "reward": float(seen.scores.mean()),
            "reward_deviation": float(seen.scores.std(correction=0)),
            "kl": float(seen.kl.mean()),
            "kl_coef": self.kl.coef,
            "entropy": float(objectives.masked_mean(old.entropy, mask)),
            "length": float(seen.batch.lengths.float().mean()),
            "eos_rate": float(seen.finished.mean()),
            # Rises when the text is garbled, however much the score likes it.
            "reference_perplexity": float(surprise.exp()),
            "explained_variance": float(objectives.explained_variance(old.values, returns, mask)),
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
    def restore(self, saved: disk.Checkpoint) -> None:
        """Become the learner that `saved` was made from."""
        for name, parameter in self.tensors().items():
            parameter.copy_(saved.tensors[name])
        self.optimizer.load_state_dict(saved.state["optimizer"])
        self.kl.coef = saved.state["kl_coef"]
        self.scale = objectives.RunningScale(**saved.state["scale"])
        self.skipped = saved.state["skipped"]
        torch.set_rng_state(saved.state["rng"])


def train(
    policy: str | Path,
    reference: str | Path,
    prompts: Sequence[dict[str, Any]],
    score: Score,
    config: PPOConfig,
    out: str | Path,
    *,
    seed: int,
    device: str | torch.device,
    checkpoints: Path,
    report: Callable[[int, int, dict[str, float]], None],
    guard: Callable[[], None],
) -> dict[str, float]:
    """Train a policy and write it to `out`: a Hugging Face folder, or a PEFT folder with LoRA.

    Args:
        policy: folder to start from. KL is always to `reference`, the supervised starter.
        prompts: rows with `messages`; rows with a true `held_out` are left out.
        score: chats and replies to one number each.
        checkpoints: folder of the resume state; training goes on from what is there.
        report: called with (updates done, updates in all, metrics) after each update.
        guard: called at the edge of every update and before every checkpoint. It raises to end
            training; `Stopped` does so after a checkpoint.

    Returns:
        reward_first and reward_last (means over the first and last fifth), kl, entropy, length
        and eos_rate of the last fifth, updates, stopped_early (1.0 when stop_kl ended it), and
        prompts_truncated (prompts that lost tokens from their left).

    Raises:
        Diverged: scores or gradients stopped being finite.
        OtherSettings: `checkpoints` belong to another run.
        OutOfMemory: with what to lower.
        ModelError, NoChatTemplate: the model cannot be trained here.
    """
    tokenizer = models.load_tokenizer(policy)
    actor = actor_critic.load(
        policy, reference, config, device=models.resolve_device(str(device)), seed=seed
    )
    learner = PPO(actor, tokenizer, prompts, score=score, config=config, seed=seed)
    journal = Journal(checkpoints, learner, _fingerprint(config, seed, learner.collector.prompts))
    history = journal.resume()
    guard()
    while len(history) < config.updates and not (history and learner.beyond(history[-1])):
        with models.memory_advice(MEMORY_ADVICE):
            metrics = learner.step(len(history))
        history.append(metrics)
        report(len(history), config.updates, metrics)
        ended = len(history) == config.updates or learner.beyond(metrics)
        try:
            guard()
        except Stopped:
            journal.save(history)
            raise
        if ended or len(history) % config.checkpoint_every == 0:
            journal.save(history)
    _write(learner, history, Path(out))
    found = _summary(history, stopped=learner.beyond(history[-1]))
    return found | {"prompts_truncated": float(learner.collector.truncated)}


class Journal:
    """The checkpoints of one run: what a learner needs to go on, and the metrics so far."""

    def __init__(self, folder: Path, learner: PPO, fingerprint: str) -> None:
        self.folder, self.learner, self.fingerprint = folder, learner, fingerprint

    def save(self, history: list[dict[str, float]]) -> None:
        """Write the state after the last update in `history`; Diverged when it is not finite."""
        self.learner.check_weights()
        state = self.learner.state() | {"history": history, "fingerprint": self.fingerprint}
        disk.save(self.folder, len(history), self.learner.tensors(), state)

    def resume(self) -> list[dict[str, float]]:
        """Restore the newest good state; return the metrics of the updates done."""
        saved = disk.latest(self.folder)
        if saved is None:
            return []
        if saved.state["fingerprint"] != self.fingerprint:
            raise OtherSettings(
                f"{self.folder} holds checkpoints of a run with other settings, prompts or seed: "
                "remove the folder to start anew"
            )
        self.learner.restore(saved)
        return list(saved.state["history"])


def _optimizer(actor: ActorCritic, cfg: PPOConfig) -> torch.optim.Optimizer:
    groups = [list(actor.parameters().values()), list(actor.value_head.parameters())]
    return torch.optim.AdamW(
        [{"params": group} for group in groups],
        lr=cfg.learning_rate,
        weight_decay=cfg.weight_decay,
        fused=True,
    )


def _fingerprint(cfg: PPOConfig, seed: int, prompts: list[list[int]]) -> str:
    settings = to_dict(cfg)
    settings.pop("checkpoint_every")
    text = json.dumps([settings, seed, prompts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(learner: PPO, history: list[dict[str, float]], out: Path) -> None:
    learner.check_weights()
    models.save_model(learner.actor.model, learner.collector.tokenizer, out)
    learner.actor.save_value_head(out)
    stopped = "kl" if learner.beyond(history[-1]) else ""
    record = {
        "config": to_dict(learner.config),
        "seed": learner.seed,
        "updates": len(history),
        "stopped": stopped,
    }
    (out / "ppo.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def _summary(history: list[dict[str, float]], *, stopped: bool) -> dict[str, float]:
    edge = max(1, len(history) // 5)

    def mean(rows: list[dict[str, float]], key: str) -> float:
        return sum(row[key] for row in rows) / len(rows)

    last = {key: mean(history[-edge:], key) for key in ("kl", "entropy", "length", "eos_rate")}
    return last | {
        "reward_first": mean(history[:edge], "reward"),
        "reward_last": mean(history[-edge:], "reward"),
        "updates": float(len(history)),
        "stopped_early": float(stopped),
    }
