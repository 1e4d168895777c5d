"""Settings of the policy optimisers: PPO, and the alternatives to it.

The alternatives fall into two kinds. DPO, KTO and ORPO learn from preferences, without a reward
model or sampling: `pairs`. RLOO and GRPO sample groups of replies per prompt and compare them by
the reward model, without a critic: `groups`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from training.rlhf.config.config_file import require, require_at_least, require_positive
from training.rlhf.config.reward_config import MIN_LENGTH, LoraConfig


@dataclass(frozen=True, kw_only=True)
class WatchedConfig:
    """Settings of the optimisers that sample replies and climb a score: PPO, RLOO and GRPO.
    Their replies are watched for signs that the score is being gamed (metrics/reward_hacking)."""

    updates: int = 24
    """Batches of sampled replies."""
    alarm_distinct2_ratio: float = 0.6
    """An alarm where the score has risen and the variety of an update's replies (distinct-2 of
    their tokens) has fallen below this share of the first updates': the gates' bound is a half,
    an alarm comes before. The newest fifth of the updates is compared with the first fifth, in
    this and the next four."""
    alarm_repetition_rise: float = 0.15
    """... or repetition within a reply has risen by this: the gates allow 0.2 in all."""
    alarm_perplexity_ratio: float = 2.0
    """... or the reference finds the replies this many times as surprising, 0.7 nats a token: a
    policy that keeps to what the starter might say becomes less surprising, not more. Without a
    reference (`groups.beta` 0) there is no such alarm."""
    alarm_length_ratio: float = 2.0
    """... or replies have become this many times as long, or as short: the gates' bounds."""
    alarm_eos_drop: float = 0.3
    """... or the share of replies that end by themselves has fallen by this."""


@dataclass(frozen=True, kw_only=True)
class PPOConfig(WatchedConfig):
    """Proximal policy optimisation (Schulman et al. 2017) against a reward model."""

    batch_size: int = 32
    """Prompts per update, with one response each."""
    minibatch_size: int = 32
    epochs: int = 4
    """Passes over each rollout batch."""
    gradient_accumulation: int = 1
    """Passes that a minibatch is read in: more take less memory and change nothing else."""
    learning_rate: float = 3e-4
    """Size of an optimiser step: too large and the policy forgets how to write."""
    critic_learning_rate: float | None = None
    """Of the value head; None takes `learning_rate`. A fresh head learnt little at 5e-5."""
    learning_rate_decay: Literal["none", "linear", "cosine"] = "none"
    """Linear, or along half a cosine: down towards zero after the last update."""
    warmup_updates: int = 0
    """Updates over which both rates rise to their full height, before they decay."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    """Rollouts use temperature only (top-p 1, top-k 0)."""
    max_new_tokens: int = 64
    """A reply that is longer is cut off there, and loses `missing_eos_penalty`."""
    max_prompt_length: int = 256
    """Longer prompts lose their earliest tokens."""
    gamma: float = 1.0
    lam: float = 0.95
    clip_ratio: float = 0.2
    clip_value: float = 0.2
    value_coef: float = 0.1
    entropy_coef: float = 0.0
    kl_coef: float = 0.05
    """Weight of the divergence from the starter (KL) beside the score: more holds the policy nearer
    to it."""
    kl_estimator: Literal["k1", "k3"] = "k1"
    kl_target: float | None = None
    """Adaptive coefficient (Ziegler et al. 2019, arXiv 1909.08593, section 2.2); None is fixed."""
    kl_horizon: int | None = None
    """Episodes; None means a tenth of this round's, or the controller is inert: it changes the
    coefficient at most e^(0.2 * episodes / horizon) times."""
    stop_kl: float | None = None
    """End the round when the mean per-sequence KL of an update exceeds this (nats)."""
    target_update_kl: float | None = 0.1
    """Leave a batch's remaining epochs when approximate KL(old, new) per token exceeds this."""
    whiten_advantages: bool = True
    whiten_rewards: bool = False
    score_clip: float | None = 5.0
    normalise_scores: bool = False
    missing_eos_penalty: float = 1.0
    """Subtracted from the score of a reply that does not end by itself."""
    length_penalty: float = 0.0
    """Subtracted from the score per response token."""
    select_every: int = 4
    """Updates between two looks of the judge; what it likes best without alarms is kept. 0, or no
    judge: the last policy is."""
    select_prompts: int = 64
    """Held-out prompts that it looks at."""
    lora: LoraConfig | None = None
    """Train small adapters beside frozen weights; none trains all weights, which takes several
    times the memory."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights with adapters, else of the matrix products: bfloat16 halves the
    memory, and suits GPUs; auto takes what suits the model and the device."""
    gradient_checkpointing: bool = False
    checkpoint_every: int = 4

    def __post_init__(self) -> None:
        require_at_least(
            1,
            "ppo",
            self,
            "updates",
            "batch_size",
            "minibatch_size",
            "epochs",
            "gradient_accumulation",
            "max_new_tokens",
            "max_prompt_length",
            "checkpoint_every",
            "select_prompts",
            "kl_horizon",
            "alarm_length_ratio",
            "alarm_perplexity_ratio",
        )
        require_at_least(
            0,
            "ppo",
            self,
            "select_every",
            "warmup_updates",
            "weight_decay",
            "value_coef",
            "entropy_coef",
            "kl_coef",
            "missing_eos_penalty",
        )
        require_positive(
            "ppo",
            self,
            "learning_rate",
            "critic_learning_rate",
            "max_grad_norm",
            "temperature",
            "clip_ratio",
            "clip_value",
            "score_clip",
            "kl_target",
            "stop_kl",
            "target_update_kl",
        )
        require(self.warmup_updates < self.updates, "ppo.warmup_updates must be less than updates")
        require(
            self.batch_size % self.minibatch_size == 0,
            "ppo.batch_size must be a multiple of ppo.minibatch_size",
        )
        require(
            self.minibatch_size % self.gradient_accumulation == 0,
            "ppo.minibatch_size must be a multiple of ppo.gradient_accumulation",
        )
        require(
            0 < self.lam <= 1 and 0 < self.gamma <= 1, "ppo.gamma and ppo.lam must lie in (0, 1]"
        )
        require(
            self.dtype != "float16",
            "ppo.dtype float16 is refused: small gradients vanish in it; take bfloat16 or float32",
        )

    def rate_share(self, update: int) -> float:
        """Share of the learning rates in an update, counted from 0: warm-up, then decay."""
        if update < self.warmup_updates:
            return (update + 1) / self.warmup_updates
        done = (update - self.warmup_updates) / (self.updates - self.warmup_updates)
        if self.learning_rate_decay == "cosine":
            return (1 + math.cos(math.pi * done)) / 2
        return 1 - done if self.learning_rate_decay == "linear" else 1.0


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Learning from preferences alone: DPO (Rafailov et al. 2023, arXiv 2305.18290), KTO
    (Ethayarajh et al. 2024, arXiv 2402.01306) and ORPO (Hong et al. 2024, arXiv 2403.07691)."""

    epochs: float = 1.0
    """Passes over all pairs with votes."""
    batch_size: int = 16
    """Pairs per optimiser step; with KTO, replies."""
    gradient_accumulation: int = 1
    """Passes that a step is read in: more take less memory and change nothing else."""
    learning_rate: float = 5e-5
    """Size of an optimiser step: too large and the policy forgets how to write."""
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float = 0.1
    """DPO and KTO: how strongly the policy is held to the reference. ORPO, which has no reference:
    the weight of the odds ratio beside the likelihood of the better reply (lambda)."""
    label_smoothing: float = 0.0
    """DPO: assumed share of wrong votes."""
    max_length: int = 512
    """Longer pairs lose tokens from the left of the prompt and are counted."""
    lora: LoraConfig | None = None
    """Train small adapters beside frozen weights; none trains all weights, which takes several
    times the memory."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights with adapters, else of the matrix products: bfloat16 halves the
    memory, and suits GPUs; auto takes what suits the model and the device."""
    gradient_checkpointing: bool = False
    checkpoint_every: int = 20
    """Optimiser steps."""

    def __post_init__(self) -> None:
        require_at_least(
            1, "pairs", self, "batch_size", "gradient_accumulation", "checkpoint_every"
        )
        require_at_least(MIN_LENGTH, "pairs", self, "max_length")
        require_positive("pairs", self, "epochs", "learning_rate", "max_grad_norm", "beta")
        require(
            self.batch_size % self.gradient_accumulation == 0,
            "pairs.batch_size must be a multiple of pairs.gradient_accumulation",
        )
        require(0 <= self.label_smoothing < 0.5, "pairs.label_smoothing must lie in [0, 0.5)")


@dataclass(frozen=True, kw_only=True)
class GroupConfig(WatchedConfig):
    """Learning from groups of replies to one prompt: RLOO (Ahmadian et al. 2024, arXiv 2402.14740)
    and GRPO (Shao et al. 2024, arXiv 2402.03300)."""

    batch_size: int = 32
    """Replies per update."""
    minibatch_size: int = 32
    """Replies per optimiser step."""
    gradient_accumulation: int = 1
    """Passes that a minibatch is read in: more take less memory and change nothing else."""
    group_size: int = 4
    """Replies per prompt."""
    epochs: int = 1
    """Passes over the replies of an update."""
    learning_rate: float = 3e-4
    """Size of an optimiser step: too large and the policy forgets how to write."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float = 0.05
    """Weight of the KL to the reference: RLOO subtracts it from the score, GRPO adds it to the
    loss."""
    clip_ratio: float = 0.2
    temperature: float = 1.0
    max_new_tokens: int = 64
    """A reply that is longer is cut off there, and loses `missing_eos_penalty`."""
    max_prompt_length: int = 256
    """Longer prompts lose their earliest tokens."""
    missing_eos_penalty: float = 1.0
    """Subtracted from the score of a reply that does not end by itself."""
    length_penalty: float = 0.0
    """Subtracted from the score per response token."""
    lora: LoraConfig | None = None
    """Train small adapters beside frozen weights; none trains all weights, which takes several
    times the memory."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Number format of the weights with adapters, else of the matrix products: bfloat16 halves the
    memory, and suits GPUs; auto takes what suits the model and the device."""
    gradient_checkpointing: bool = False
    checkpoint_every: int = 4
    """Updates."""

    def __post_init__(self) -> None:
        require_at_least(2, "groups", self, "group_size")
        require_at_least(
            1,
            "groups",
            self,
            "updates",
            "batch_size",
            "minibatch_size",
            "gradient_accumulation",
            "epochs",
            "max_new_tokens",
            "max_prompt_length",
            "checkpoint_every",
            "alarm_length_ratio",
            "alarm_perplexity_ratio",
        )
        require_at_least(0, "groups", self, "beta", "weight_decay", "missing_eos_penalty")
        require_positive(
            "groups", self, "learning_rate", "max_grad_norm", "temperature", "clip_ratio"
        )
        require(
            self.batch_size % self.minibatch_size == 0,
            "groups.batch_size must be a multiple of groups.minibatch_size",
        )
        require(
            self.minibatch_size % self.gradient_accumulation == 0,
            "groups.minibatch_size must be a multiple of groups.gradient_accumulation",
        )
        require(
            self.batch_size % self.group_size == 0,
            "groups.batch_size must be a multiple of groups.group_size",
        )
