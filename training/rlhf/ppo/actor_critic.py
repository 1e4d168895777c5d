"""Policy, critic and reference on one trunk.

The critic is a value head on the policy's own hidden states. With adapters the reference shares the
trunk too: it is the trunk with the policy's adapter off, or a second, frozen adapter. Only full
training keeps a frozen copy of the starter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.rlhf.config import LoraConfig, PPOConfig
from training.rlhf.language import pretrained
from training.rlhf.language.token_logprobs import token_logprobs
from training.rlhf.ppo import losses
from training.rlhf.run.device import seed_everything
from training.rlhf.run.failures import ModelError

VALUE_HEAD = "value_head.safetensors"


@dataclass(frozen=True)
class Sequences:
    """Prompts with their responses: prompt, response, then padding.

    Padding on the right needs no attention mask in a causal model: no real token looks at it. (An
    encoder gets one.) What is real is known from lengths, so the padding token may be any token.
    """

    ids: Tensor
    """(B, L)"""
    starts: Tensor
    """(B,) lengths of the prompts."""
    lengths: Tensor
    """(B,) lengths of the responses."""

    @classmethod
    def build(
        cls,
        prompts: Sequence[Sequence[int]],
        responses: Sequence[Sequence[int]],
        device: torch.device,
    ) -> Sequences:
        """Join and pad token lists."""
        rows = [[*p, *r] for p, r in zip(prompts, responses, strict=True)]
        width = max(map(len, rows))
        return cls(
            torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device),
            torch.tensor([len(prompt) for prompt in prompts], device=device),
            torch.tensor([len(response) for response in responses], device=device),
        )

    @cached_property
    def mask(self) -> Tensor:
        """(B, R), 1.0 on response tokens."""
        return losses.length_mask(self.lengths, int(self.lengths.max()))

    @cached_property
    def widths(self) -> list[int]:
        """(B,) lengths of the prompts with their responses."""
        found: list[int] = (self.starts + self.lengths).tolist()
        return found

    @property
    def responses(self) -> list[list[int]]:
        """The responses' tokens."""
        ends = zip(self.ids.tolist(), self.starts.tolist(), self.widths, strict=True)
        return [row[start:end] for row, start, end in ends]

    def select(self, rows: Tensor) -> Sequences:
        """Some of the rows, no wider than they need."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        return Sequences(self.ids[rows, : int((starts + lengths).max())], starts, lengths)


@dataclass(frozen=True)
class Reading:
    """What a model says about given responses; (B, R) each, zero on padding."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor


class ValueHead(nn.Module):
    """Expected return from a hidden state; zero everywhere until it begins elsewhere."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    @torch.no_grad()
    def begin_at(self, value: Tensor) -> bool:
        """Expect `value` (a scalar) everywhere, unless something was learnt already; whether."""
        untrained = not any(bool(part.any()) for part in (self.outer.weight, self.outer.bias))
        if untrained:
            self.outer.bias.fill_(value)
        return untrained

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
                pretrained.without_dropout(each)
                _check_head(base_model(each))

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
        base, mask = base_model(model), batch.mask
        with self.mixed_precision():
            hidden, tokens = response_states(base, batch)
            head = base.get_output_embeddings()
            logprobs, entropy = token_logprobs(head, hidden, tokens, temperature=temperature)
        values = self.value_head(hidden)
        where = mask.nonzero(as_tuple=True)

        def spread(flat: Tensor) -> Tensor:
            return torch.zeros_like(mask).index_put(where, flat.float())

        return Reading(spread(logprobs), spread(values), spread(entropy))

    def mixed_precision(self) -> AbstractContextManager[Any]:
        """The context of every forward pass, sampling included."""
        if self._autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._autocast)

    def save_value_head(self, folder: Path) -> None:
        """Write the critic's head beside the policy."""
        save_file(self.value_head.state_dict(), str(folder / VALUE_HEAD))

    def load_value_head(self, folder: Path) -> None:
        """Go on from the critic of the round before, when it is there and fits."""
        if (folder / VALUE_HEAD).exists():
            saved = load_file(str(folder / VALUE_HEAD))
            mine = self.value_head.state_dict()
            if all(saved[name].shape == mine[name].shape for name in mine):
                self.value_head.load_state_dict(saved)


def load(
    policy: str | Path, reference: str | Path, config: PPOConfig, *, device: torch.device, seed: int
) -> ActorCritic:
    """Load a policy to train and its reference from their folders.

    Full training takes two models. With LoRA one trunk serves both wherever it can: when the
    policy is an adapter of the reference, when both are adapters of one base (the policy's own
    rank then holds), or when the policy is the reference and a new adapter starts as a no-op.

    Raises:
        ModelError: a folder without a model, or two models whose vocabularies differ.
    """
    seed_everything(seed)
    # float32 weights under autocast: steps of 1e-6 vanish in bfloat16 weights.
    mixed = config.lora is None and config.dtype != "float32"
    model, anchor = load_pair(
        policy, reference, lora=config.lora, dtype=config.dtype, device=device
    )
    if isinstance(anchor, str):
        model.load_adapter(anchor, adapter_name="reference", is_trainable=False)
        anchor = "reference"
    result = ActorCritic(model, anchor, autocast=getattr(torch, config.dtype) if mixed else None)
    result.load_value_head(Path(policy))
    if config.gradient_checkpointing:
        base_model(result.model).activation_checkpointing_enable({"use_reentrant": False})
    return result


def load_pair(
    policy: str | Path,
    reference: str | Path,
    *,
    lora: LoraConfig | None,
    dtype: str,
    device: torch.device,
) -> tuple[PreTrainedModel | PeftModel, PreTrainedModel | str | None]:
    """A policy to train and its reference: a frozen model, the folder of an adapter for the
    policy's own trunk, or None where the reference is the trunk with the policy's adapter off.

    Draws from torch's global generator: seed it first.

    Raises:
        ModelError: a folder without a model, or two models whose vocabularies differ.
    """
    if lora is None:
        model = pretrained.load_causal(policy, device=device)
        anchor = pretrained.load_causal(reference, dtype=dtype, device=device)
        return model, _frozen(model, anchor)
    start, end = map(pretrained.stable_path, (policy, reference))
    base, anchor_base = pretrained.adapter_base(policy), pretrained.adapter_base(reference)
    if base is not None and base == anchor_base:
        trunk = pretrained.load_causal(base, dtype=dtype, device=device)
        return pretrained.attach_adapter(trunk, policy, trainable=True), str(reference)
    if base is not None and pretrained.stable_path(base) == end:
        trunk = pretrained.load_causal(reference, dtype=dtype, device=device)
        return pretrained.attach_adapter(trunk, policy, trainable=True), None
    trunk = pretrained.load_causal(policy, dtype=dtype, device=device)
    model = pretrained.new_adapter(trunk, lora, base=policy)
    if start == end:
        return model, None
    return model, _frozen(trunk, pretrained.load_causal(reference, dtype=dtype, device=device))


def _frozen(policy: PreTrainedModel, reference: PreTrainedModel) -> PreTrainedModel:
    if policy.config.vocab_size != reference.config.vocab_size:
        raise ModelError(
            f"policy and reference have vocabularies of {policy.config.vocab_size} and "
            f"{reference.config.vocab_size} tokens; KL between them is undefined"
        )
    return reference.requires_grad_(False)


def response_states(model: PreTrainedModel, batch: Sequences) -> tuple[Tensor, Tensor]:
    """The hidden states (N, H) that predict the response tokens, and those tokens (N,), in the
    order of the mask's ones: no prompt and no padding reaches the LM head."""
    rows, places = batch.mask.nonzero(as_tuple=True)
    tokens = batch.ids[rows, batch.starts[rows] + places]
    if model.config.is_encoder_decoder:
        return _decoder_states(model, batch)[rows, places], tokens
    hidden = model.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
    return hidden[rows, batch.starts[rows] + places - 1], tokens


def _decoder_states(model: PreTrainedModel, batch: Sequences) -> Tensor:
    """Hidden states (B, R, H) of a decoder that is fed the responses, the prompts being encoded."""
    width, longest = int(batch.starts.max()), int(batch.lengths.max())
    attended = losses.length_mask(batch.starts, width).long()
    read = model.get_encoder()(input_ids=batch.ids[:, :width], attention_mask=attended)
    # The first response token is predicted from the start token, each other from the one before.
    before = batch.starts[:, None] + torch.arange(longest, device=batch.ids.device) - 1
    fed = batch.ids.gather(1, before.clamp(max=batch.ids.shape[1] - 1))
    fed[:, 0] = model.config.decoder_start_token_id
    hidden: Tensor = model.get_decoder()(
        input_ids=fed,
        encoder_hidden_states=read.last_hidden_state,
        encoder_attention_mask=attended,
        use_cache=False,
    ).last_hidden_state
    # T5 with tied embeddings (T5ForConditionalGeneration.forward).
    scaled = getattr(model.config, "scale_decoder_outputs", False)
    return hidden * model.config.d_model**-0.5 if scaled else hidden


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model, with adapters inside when there are any."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


@torch.no_grad()
def _check_head(model: PreTrainedModel) -> None:
    """Some models scale or cap their logits after the LM head, which `_read` would not see."""
    head, device = model.get_output_embeddings(), next(model.parameters()).device
    batch = Sequences.build([[1, 2]], [[3, 1]], device)
    logits = head(response_states(model, batch)[0])
    if model.config.is_encoder_decoder:
        fed = torch.tensor([[model.config.decoder_start_token_id, 3]], device=device)
        full = model(input_ids=batch.ids[:, :2], decoder_input_ids=fed, use_cache=False).logits[0]
    else:
        full = model(input_ids=batch.ids, use_cache=False).logits[0, 1:3]
    # Products of other shapes may round otherwise: by a few units in the last place.
    tolerance = max(1e-3, 4 * torch.finfo(full.dtype).eps)
    same = torch.allclose(logits, full, atol=tolerance, rtol=tolerance)
    if not (same and isinstance(head, nn.Linear)):
        raise ModelError(
            f"{type(model).__name__} changes its logits after the LM head; PPO does not support it"
        )
