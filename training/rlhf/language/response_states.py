"""Prompts with their responses as one padded batch, and the hidden states that predict them.

Every forward pass over given responses goes through `response_states`: training by PPO and ORPO,
and the likelihoods of evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.rlhf.run.failures import ModelError


def length_mask(lengths: Tensor, width: int) -> Tensor:
    """Turn lengths (B,) into a mask (B, width)."""
    return (torch.arange(width, device=lengths.device)[None] < lengths[:, None]).float()


@dataclass(frozen=True)
class Sequences:
    """B prompts with their responses of up to R tokens: prompt, response, then padding.

    Padding on the right needs no attention mask in a causal model: no real token looks at it. (An
    encoder gets one.) Masks come from lengths and never from the padding token, which may be eos.
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
        return length_mask(self.lengths, int(self.lengths.max()))

    @cached_property
    def widths(self) -> list[int]:
        """(B,) lengths of the prompts with their responses."""
        widths: list[int] = (self.starts + self.lengths).tolist()
        return widths

    @property
    def responses(self) -> list[list[int]]:
        """The responses' tokens."""
        ends = zip(self.ids.tolist(), self.starts.tolist(), self.widths, strict=True)
        return [row[start:end] for row, start, end in ends]

    def select(self, rows: Tensor) -> Sequences:
        """Some of the rows, no wider than they need."""
        starts, lengths = self.starts[rows], self.lengths[rows]
        return Sequences(self.ids[rows, : int((starts + lengths).max())], starts, lengths)


def response_states(model: PreTrainedModel, batch: Sequences) -> tuple[Tensor, Tensor]:
    """The hidden states (N, H) that predict the response tokens, and those tokens (N,), in the
    order of the mask's ones: no prompt and no padding reaches the LM head."""
    rows, places = batch.mask.nonzero(as_tuple=True)
    tokens = batch.ids[rows, batch.starts[rows] + places]
    if model.config.is_encoder_decoder:
        return _decoder_states(model, batch)[rows, places], tokens
    hidden = model.base_model(input_ids=batch.ids, use_cache=False).last_hidden_state
    # A token is predicted by the state before it, the first one by the prompt's last.
    return hidden[rows, batch.starts[rows] + places - 1], tokens


def _decoder_states(model: PreTrainedModel, batch: Sequences) -> Tensor:
    """Hidden states (B, R, H) of a decoder that is fed the responses, the prompts being encoded."""
    width, longest = int(batch.starts.max()), int(batch.lengths.max())
    attended = length_mask(batch.starts, width).long()
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


@torch.no_grad()
def require_plain_head(model: PreTrainedModel, trainer: str) -> None:
    """Raise ModelError where a model scales or caps its logits after the LM head, which a trainer
    that applies the head to `response_states` would not see."""
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
            f"{type(model).__name__} changes its logits after the LM head; {trainer} does not "
            "support it"
        )
