"""Settings of the policy optimisers: PPO, and the alternatives to it.

The alternatives fall into two kinds. DPO, KTO and ORPO learn from preferences, without a reward
model or sampling: `pairs`. RLOO and GRPO sample groups of replies per prompt and compare them by
the reward model, without a critic: `groups`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.rlhf.configfile import require
from training.rlhf.reward_config import LoraConfig

Optimiser = Literal["ppo", "dpo", "kto", "orpo", "rloo", "grpo"]


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Proximal policy optimisation (Schulman et al. 2017) against a reward model."""

    updates: int = 24
    """Rollout batches; one batch is `batch_size` prompts with one response each."""
    batch_size: int = 32
    minibatch_size: int = 32
    epochs: int = 4
    """Passes over each rollout batch."""
    gradient_accumulation: int = 1
    learning_rate: float = 3e-4
    critic_learning_rate: float | None = None
    """Of the value head; None takes `learning_rate`."""
    learning_rate_decay: Literal["none", "linear"] = "none"
    """Linear: down to zero at the last update."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    """Rollouts use temperature only (top-p 1, top-k 0)."""
    max_new_tokens: int = 64
    max_prompt_length: int = 256
    gamma: float = 1.0
    lam: float = 0.95
    clip_ratio: float = 0.2
    clip_value: float = 0.2
    value_coef: float = 0.1
    entropy_coef: float = 0.0
    kl_coef: float = 0.05
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
    length_penalty: float = 0.0
    """Subtracted from the score per response token."""
    lora: LoraConfig | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 4

    def __post_init__(self) -> None:
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
        require(self.temperature > 0, "ppo.temperature must be positive")
        require(
            min(self.updates, self.batch_size, self.gradient_accumulation, self.epochs) >= 1,
            "ppo.updates, batch_size, gradient_accumulation and epochs must be at least 1",
        )
        require(self.max_new_tokens >= 1, "ppo.max_new_tokens must be at least 1")
        require(
            self.dtype != "float16" or self.lora is not None,
            "ppo.dtype float16 needs ppo.lora: full training in it loses small gradients",
        )


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Learning from preferences alone: DPO (Rafailov et al. 2023, arXiv 2305.18290), KTO
    (Ethayarajh et al. 2024, arXiv 2402.01306) and ORPO (Hong et al. 2024, arXiv 2403.07691)."""

    epochs: float = 1.0
    batch_size: int = 16
    """Pairs per optimiser step; with KTO, replies."""
    gradient_accumulation: int = 1
    learning_rate: float = 5e-5
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
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 20
    """Optimiser steps."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "pairs.batch_size must be at least 1")
        require(
            self.gradient_accumulation >= 1 and self.batch_size % self.gradient_accumulation == 0,
            "pairs.batch_size must be a multiple of pairs.gradient_accumulation",
        )
        require(self.epochs > 0, "pairs.epochs must be positive")
        require(self.beta > 0, "pairs.beta must be positive")
        require(0 <= self.label_smoothing < 0.5, "pairs.label_smoothing must lie in [0, 0.5)")


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """Learning from groups of replies to one prompt: RLOO (Ahmadian et al. 2024, arXiv 2402.14740)
    and GRPO (Shao et al. 2024, arXiv 2402.03300)."""

    updates: int = 24
    batch_size: int = 32
    """Replies per update."""
    minibatch_size: int = 32
    """Replies per optimiser step."""
    group_size: int = 4
    """Replies per prompt."""
    epochs: int = 1
    """Passes over the replies of an update."""
    learning_rate: float = 3e-4
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float = 0.05
    """Weight of the KL to the reference: RLOO subtracts it from the score, GRPO adds it to the
    loss."""
    clip_ratio: float = 0.2
    temperature: float = 1.0
    max_new_tokens: int = 64
    max_prompt_length: int = 256
    missing_eos_penalty: float = 1.0
    length_penalty: float = 0.0
    """Subtracted from the score per response token."""
    lora: LoraConfig | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False
    checkpoint_every: int = 4
    """Updates."""

    def __post_init__(self) -> None:
        require(self.group_size >= 2, "groups.group_size must be at least 2")
        require(
            self.batch_size % self.minibatch_size == 0,
            "groups.batch_size must be a multiple of groups.minibatch_size",
        )
        require(
            self.batch_size % self.group_size == 0,
            "groups.batch_size must be a multiple of groups.group_size",
        )
        require(self.temperature > 0, "groups.temperature must be positive")
        require(min(self.updates, self.epochs) >= 1, "groups.updates and epochs must be at least 1")
