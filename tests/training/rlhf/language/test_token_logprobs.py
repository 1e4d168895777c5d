from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.rlhf.language import token_logprobs

N, H, V = 11, 8, 50


def numbers(plain: bool, bias: bool, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Both outputs, and the gradients of a sum that uses both."""
    torch.manual_seed(0)
    head = nn.Linear(H, V, bias=bias).to(dtype)
    hidden = (3 * torch.randn(N, H)).to(dtype).requires_grad_()
    tokens = torch.randint(0, V, (N,))
    if plain:
        every = (head(hidden).float() / 0.7).log_softmax(-1)
        logprobs = every.gather(-1, tokens[:, None])[:, 0]
        entropy = -(every.exp() * every).sum(-1)
    else:
        logprobs, entropy = token_logprobs.token_logprobs(head, hidden, tokens, temperature=0.7)
    weights = torch.linspace(-1, 2, N)
    (logprobs * weights + 0.3 * entropy * weights.flip(0)).sum().backward()
    grads = [hidden.grad, *(parameter.grad for parameter in head.parameters())]
    return [logprobs.detach(), entropy.detach(), *(g for g in grads if g is not None)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kept", [0, 10**9], ids=["computed twice", "kept"])
@pytest.mark.parametrize("at_once", [1, 4 * V, 10**9])
def test_numbers_and_gradients_equal_those_of_plain_autograd(monkeypatch, bias, kept, at_once):
    monkeypatch.setattr(token_logprobs, "LOGITS_KEPT", kept)
    monkeypatch.setattr(token_logprobs, "LOGITS_AT_ONCE", at_once)
    plain, lean = numbers(True, bias), numbers(False, bias)
    assert len(plain) == len(lean) == (5 if bias else 4)
    for expected, value in zip(plain, lean, strict=True):
        torch.testing.assert_close(value, expected, atol=2e-5, rtol=1e-4)


def test_without_a_gradient_for_entropy_the_gradient_is_that_of_the_log_probabilities():
    torch.manual_seed(0)
    head, tokens = nn.Linear(H, V, bias=False), torch.randint(0, V, (N,))
    hidden = torch.randn(N, H, requires_grad=True)
    token_logprobs.token_logprobs(head, hidden, tokens, temperature=2.0)[0].sum().backward()
    lean = hidden.grad
    hidden.grad = None
    (head(hidden) / 2).log_softmax(-1).gather(-1, tokens[:, None]).sum().backward()
    torch.testing.assert_close(lean, hidden.grad)


def test_half_precision_reads_in_float32_and_returns_half_precision_gradients():
    plain, lean = numbers(True, False, torch.bfloat16), numbers(False, False, torch.bfloat16)
    assert lean[0].dtype == lean[1].dtype == torch.float32
    for expected, value in zip(plain, lean, strict=True):
        assert value.dtype == expected.dtype
        torch.testing.assert_close(value, expected, atol=0.15, rtol=0.05)


def test_a_frozen_head_passes_its_gradient_on_and_gets_none():
    torch.manual_seed(0)
    head = nn.Linear(H, V, bias=False).requires_grad_(False)
    hidden = torch.randn(N, H, requires_grad=True)
    tokens = torch.randint(0, V, (N,))
    token_logprobs.token_logprobs(head, hidden, tokens, temperature=1.0)[0].sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() > 0
    assert head.weight.grad is None
