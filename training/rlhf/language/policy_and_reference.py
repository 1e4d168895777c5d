"""A policy to train and the reference it is held to, loaded so that they share what they can."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from training.rlhf.config import LoraConfig
from training.rlhf.language import pretrained
from training.rlhf.language.lora_adapters import (
    adapter_base,
    attach_adapter,
    new_adapter,
    stable_path,
)
from training.rlhf.run.failures import ModelError


def load_policy_and_reference(
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
    start, end = map(stable_path, (policy, reference))
    base, anchor_base = adapter_base(policy), adapter_base(reference)
    if base is not None and base == anchor_base:
        trunk = pretrained.load_causal(base, dtype=dtype, device=device)
        return attach_adapter(trunk, policy, trainable=True), str(reference)
    if base is not None and stable_path(base) == end:
        trunk = pretrained.load_causal(reference, dtype=dtype, device=device)
        return attach_adapter(trunk, policy, trainable=True), None
    trunk = pretrained.load_causal(policy, dtype=dtype, device=device)
    model = new_adapter(trunk, lora, base=policy)
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
