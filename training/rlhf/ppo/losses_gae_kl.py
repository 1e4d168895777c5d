"""The formulas of PPO for text, each a pure function on tensors.

Shapes: B sequences, R response tokens. `mask` is (B, R), 1.0 on real tokens; it comes from the
responses' lengths. Losses are per token: the caller averages over the whole minibatch, so that
splitting one into micro-batches changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens."""
    return (values * mask).sum() / mask.sum()


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale real tokens to variance one and (unless told otherwise) mean zero."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean).square(), mask)
    white = (values - mean) * (variance + 1e-8).rsqrt()
    return (white if shift_mean else white + mean) * mask


def kl_per_token(logprobs: Tensor, ref_logprobs: Tensor, estimator: Literal["k1", "k3"]) -> Tensor:
    """KL(policy, reference) per token (Schulman 2020, joschu.net/blog/kl-approx.html).

    Unbiased on tokens sampled from the policy, both. k1 = log p/q may be negative;
    k3 = q/p - 1 - log q/p never is, and varies less while the two are close.
    """
    log_ratio = logprobs - ref_logprobs
    if estimator == "k1":
        return log_ratio
    return torch.exp(-log_ratio) - 1 + log_ratio


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, *, kl_coef: float) -> Tensor:
    """-kl_coef * KL on every token, plus the score (B,) on the last real one.

    Ziegler et al. 2019 (arXiv 1909.08593, eq. 2). The last real token is the stop token, or
    wherever the response was cut off; never the padding after it.
    """
    rewards = -kl_coef * kl * mask
    last = mask.sum(1).long() - 1
    return rewards.index_put(
        (torch.arange(len(scores), device=scores.device), last), scores, accumulate=True
    )


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    Returns:
        Advantages and returns (B, R), zero on padding. Nothing follows the last real token.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    values = values * mask
    for t in reversed(range(rewards.shape[1])):
        next_values = values[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
        delta = rewards[:, t] + gamma * next_values - values[:, t]
        following = (delta + gamma * lam * following) * mask[:, t]
        advantages[:, t] = following
    return advantages, advantages + values


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, *, clip: float
) -> tuple[Tensor, Tensor]:
    """Clipped surrogate (Schulman et al. 2017, arXiv 1707.06347, eq. 7), per token, and where the
    clip decided (1.0 or 0.0)."""
    ratio = torch.exp(logprobs - old_logprobs)
    free = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    return torch.maximum(free, clipped), (clipped > free).float()


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """Half the squared error, the worse of clipped and unclipped, per token.

    As in openai/baselines and openai/lm-human-preferences: a value may not move more than `clip`
    from what it was at the rollout.
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (near - returns).square())


@dataclass(frozen=True)
class LossTerms:
    """Losses, and numbers watched beside them: (B, R) each, or scalars once they are summed."""

    policy_loss: Tensor
    value_loss: Tensor
    entropy: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor

    def share_of(self, tokens: Tensor, mask: Tensor) -> LossTerms:
        """The sum of each over real tokens, divided by `tokens` (those of the whole minibatch)."""
        return LossTerms(*((self.stacked() * mask).sum((1, 2)) / tokens))

    def stacked(self) -> Tensor:
        """All of them in one tensor, in the order of the fields."""
        return torch.stack(list(vars(self).values()))


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 for a critic that knew the returns, 0 for a constant one; below that it misleads."""
    error = returns - values
    spread = masked_mean((returns - masked_mean(returns, mask)).square(), mask)
    return 1 - masked_mean((error - masked_mean(error, mask)).square(), mask) / (spread + 1e-8)


@dataclass
class KLController:
    """The weight of KL in the reward: fixed, or adaptive when it has a target.

    Adaptive: Ziegler et al. 2019 (arXiv 1909.08593, section 2.2). It multiplies the coefficient by
    at most e^(0.2 * episodes / horizon), so a horizon as long as the round would barely move it.
    """

    coef: float
    target: float | None = None
    """Nats per response."""
    horizon: int = 10_000
    """Episodes."""

    def update(self, kl: float, episodes: int) -> None:
        """Adapt to the mean KL per response of `episodes` responses."""
        if self.target is not None:
            error = min(0.2, max(-0.2, kl / self.target - 1))
            self.coef *= 1 + error * episodes / self.horizon


@dataclass
class RunningScale:
    """Mean and deviation of all scores so far (Chan et al. 1979), to normalise them."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def update(self, scores: Tensor) -> None:
        """Take in a batch of scores (B,)."""
        values = scores.double()
        n, mean = values.numel(), float(values.mean())
        squares = float((values - mean).square().sum())
        total, delta = self.count + n, mean - self.mean
        self.squares += squares + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.count = total

    def normalise(self, scores: Tensor) -> Tensor:
        """Return scores with the mean of all so far at zero and their deviation at one."""
        deviation = (self.squares / max(self.count - 1, 1)) ** 0.5
        result: Tensor = (scores - self.mean) / (deviation + 1e-8)
        return result
