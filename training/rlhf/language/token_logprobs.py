"""Log-probabilities of given tokens from hidden states, without (N, V) copies.

With a vocabulary of 151,936 the logits of 256 tokens take 148 MiB, and plain autograd holds about
four such arrays. Here at most one is kept from forward to backward, which turns it into its own
gradient in place; when even that one would be too large, only a slice exists at a time and the
backward pass computes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LOGITS_KEPT = 2**26
"""Numbers; 256 MiB in float32. More logits than this are computed twice instead."""
LOGITS_AT_ONCE = 2**23
"""Numbers; 32 MiB in float32, the size of each temporary."""


def token_logprobs(
    head: nn.Linear, hidden: Tensor, tokens: Tensor, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies, (N,) each, of `tokens` (N,) given `hidden` (N, H).

    Both belong to softmax(head(hidden) / temperature), in float32.
    """
    weight: Tensor = head.weight
    bias: Tensor | None = head.bias
    if torch.is_autocast_enabled(hidden.device.type):
        half = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(half), weight.to(half)
        bias = None if bias is None else bias.to(half)
    # Inside the function autograd is always off, so it cannot tell whether it will learn.
    keep = torch.is_grad_enabled() and len(hidden) * len(weight) <= LOGITS_KEPT
    logprobs, entropy = _TokenLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, tokens, temperature, keep
    )
    return logprobs, entropy


def _slices(rows: int, vocabulary: int) -> Iterator[slice]:
    size = max(1, LOGITS_AT_ONCE // vocabulary)
    for start in range(0, rows, size):
        yield slice(start, start + size)


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float) -> Tensor:
    return nn.functional.linear(hidden, weight, bias).float().div_(temperature)


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
        keep: bool,
    ) -> tuple[Tensor, Tensor]:
        rows, vocabulary = len(hidden), len(weight)
        kept = _logits(hidden, weight, bias, temperature) if keep else None
        logprobs, entropy, totals = (
            torch.empty(rows, dtype=torch.float32, device=hidden.device) for _ in range(3)
        )
        for part in _slices(rows, vocabulary):
            logits = (
                _logits(hidden[part], weight, bias, temperature) if kept is None else kept[part]
            )
            top = logits.amax(-1)
            masses = (logits - top[:, None]).exp_()
            mass = masses.sum(-1)
            totals[part] = top + mass.log()
            logprobs[part] = logits.gather(-1, tokens[part, None])[:, 0] - totals[part]
            # Entropy = total - E[logits]; vecdot multiplies without a product array.
            entropy[part] = totals[part] - torch.linalg.vecdot(masses, logits) / mass
        ctx.save_for_backward(hidden, weight, bias, tokens, totals, entropy)
        ctx.kept, ctx.temperature = kept, temperature
        return logprobs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, tokens, totals, entropy = ctx.saved_tensors
        for_logprobs, for_entropy = (grad.float() for grad in grads)
        wanted = ctx.needs_input_grad
        entropy_counts = bool(for_entropy.any())
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight) if wanted[1] else None
        d_bias = torch.zeros_like(bias) if bias is not None and wanted[2] else None
        for part in _slices(len(hidden), len(weight)):
            logits = (
                _logits(hidden[part], weight, bias, ctx.temperature)
                if ctx.kept is None
                else ctx.kept[part]
            )
            slope = _logits_gradient(
                logits,
                totals[part],
                entropy[part],
                for_logprobs[part],
                for_entropy[part] if entropy_counts else None,
            )
            slope.scatter_add_(-1, tokens[part, None], for_logprobs[part, None])
            slope = slope.div_(ctx.temperature).to(hidden.dtype)
            d_hidden[part] = slope @ weight
            if d_weight is not None:
                d_weight.addmm_(slope.t(), hidden[part])
            if d_bias is not None:
                d_bias += slope.sum(0)
        ctx.kept = None  # its content is spent
        return d_hidden, d_weight, d_bias, None, None, None


def _logits_gradient(
    logits: Tensor,
    totals: Tensor,
    entropy: Tensor,
    for_logprobs: Tensor,
    for_entropy: Tensor | None,
) -> Tensor:
    """Overwrite logits (n, V) with the gradient that goes to every one of them.

    d log p_k / d z_j = [j = k] - p_j (the caller adds the first term), and
    d H / d z_j = -p_j (log p_j + H).
    """
    logs = logits.sub_(totals[:, None])
    if for_entropy is None:
        return logs.exp_().mul_(-for_logprobs[:, None])
    weights = (logs + entropy[:, None]).mul_(-for_entropy[:, None]).sub_(for_logprobs[:, None])
    return logs.exp_().mul_(weights)
