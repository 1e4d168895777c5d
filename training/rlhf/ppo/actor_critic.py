"""Policy, critic and reference on one trunk.

The critic is a value head on the policy's own hidden states. With adapters the reference shares the
trunk too: it is the trunk with the policy's adapter off, or a second, frozen adapter. Only full
training keeps a frozen copy of the starter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.rlhf.language import pretrained
from training.rlhf.language.lora_adapters import base_model
from training.rlhf.language.response_states import Sequences, require_plain_head, response_states
from training.rlhf.language.token_logprobs import token_logprobs


@dataclass(frozen=True)
class Reading:
    """One forward pass over given responses; (B, R) each, zero on padding."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor


class ValueHead(nn.Module):
    """Expected return from a hidden state; zero everywhere until `begin_at`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    @torch.no_grad()
    def begin_at(self, value: Tensor) -> None:
        """Expect `value` (a scalar) everywhere, unless something was learnt already."""
        if not any(bool(part.any()) for part in (self.outer.weight, self.outer.bias)):
            self.outer.bias.fill_(value)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, H) to (N,)."""
        values: Tensor = self.outer(nn.functional.silu(self.inner(hidden.float())))
        return values[:, 0]


class ActorCritic:
    """A policy to train with its critic, and the reference it is held to."""

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        reference: PreTrainedModel | str | None,
        *,
        autocast: torch.dtype | None = None,
    ) -> None:
        """Args:
        model: the policy; its trainable parameters are those with `requires_grad`.
        reference: a frozen model, the name of a frozen adapter, or None for adapter off.
        autocast: dtype of the matrix products when the weights are float32.
        """
        self.model = model
        self.device: torch.device = next(model.parameters()).device
        self._reference = reference
        self._autocast = autocast
        self.value_head = ValueHead(base_model(model).config.get_text_config().hidden_size)
        self.value_head.to(self.device)
        for each in (model, reference):
            if isinstance(each, nn.Module):
                # Dropout would make the ratio of new to old probabilities noise: off for good.
                pretrained.without_dropout(each)
                require_plain_head(base_model(each), "PPO")

    def parameters(self) -> dict[str, nn.Parameter]:
        """The policy's trainable parameters by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def read(self, batch: Sequences, *, temperature: float) -> Reading:
        """Log-probabilities, values and entropies of the responses under the policy."""
        return self._read(self.model, batch, temperature)

    @torch.no_grad()
    def reference_logprobs(self, batch: Sequences, *, temperature: float) -> Tensor:
        """Log-probabilities (B, R) of the responses under the reference."""
        with self._as_reference() as model:
            return self._read(model, batch, temperature).logprobs

    @contextmanager
    def _as_reference(self) -> Iterator[PreTrainedModel | PeftModel]:
        if isinstance(self._reference, nn.Module):
            yield self._reference
        elif self._reference is None:
            with self.model.disable_adapter():
                yield self.model
        else:
            self.model.set_adapter(self._reference)
            try:
                yield self.model
            finally:
                self.model.set_adapter("default")

    def _read(self, model: PreTrainedModel, batch: Sequences, temperature: float) -> Reading:
        base, mask = base_model(model), batch.mask  # (B, R)
        with self.mixed_precision():
            # N is the number of response tokens: no prompt and no padding reaches the heads.
            hidden, tokens = response_states(base, batch)  # (N, H), (N,)
            head = base.get_output_embeddings()
            logprobs, entropy = token_logprobs(head, hidden, tokens, temperature=temperature)
        values = self.value_head(hidden)  # (N,)
        where = mask.nonzero(as_tuple=True)

        def spread(flat: Tensor) -> Tensor:
            """(N,) to (B, R)."""
            return torch.zeros_like(mask).index_put(where, flat.float())

        return Reading(spread(logprobs), spread(values), spread(entropy))

    def mixed_precision(self) -> AbstractContextManager[Any]:
        """The context of every forward pass, sampling included."""
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._autocast)
