"""Low-rank adapters on a classifier, on whole or quantised weights, and how they are merged."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel

from training.rlhf.config import LoraConfig
from training.rlhf.language import lora_adapters
from training.rlhf.reward import encoder_head
from training.rlhf.run.failures import ModelError

HEADS = ("score", "classifier", "pre_classifier", "classification_head", "pooler", "head")
"""Layers that are new or nearly so: trained whole, never quantised."""


def attach(classifier: PreTrainedModel, lora: LoraConfig) -> PeftModel:
    """Put trainable adapters on a classifier's trunk; its head is trained whole. `config.json` of
    the model records which layers they were on.

    Draws from torch's global generator: seed it first.
    """
    target: Any = lora_adapters.targets(classifier, lora)
    config = PeftLoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,  # off for good, as all dropout
        target_modules=target,
        modules_to_save=_heads(classifier),
        fan_in_fan_out=any(type(module).__name__ == "Conv1D" for module in classifier.modules()),
    )
    try:
        model = get_peft_model(classifier, config)
    except ValueError as error:
        raise ModelError(f"reward.lora does not fit this model: {error}") from error
    # The adapters will be merged: afterwards nothing else tells which layers they were on.
    chosen = {name.rpartition(".")[2] for name in config.target_modules or ()}
    classifier.config.reward_lora_targets = sorted(chosen)
    return model


def _heads(classifier: PreTrainedModel) -> list[str]:
    """Layers outside the trunk, and a pooler inside it: some checkpoints come without one."""
    if encoder_head.is_on(classifier):
        return [encoder_head.NAME]
    trunk = classifier.base_model
    heads = [name for name, child in classifier.named_children() if child is not trunk]
    trained = [name for name in heads if any(True for _ in getattr(classifier, name).parameters())]
    return [*trained, *(["pooler"] if getattr(trunk, "pooler", None) is not None else [])]


def merge(model: PeftModel) -> PreTrainedModel:
    """The classifier with its adapters added to the weights, as float32.

    Quantised weights are written out as what they stood for in training, so that the merged
    model scores as the trained one did. Rounding them again would not.
    """
    if not getattr(model.get_base_model(), "is_quantized", False):
        return model.float().merge_and_unload()  # not in 16 bits, in which small changes vanish
    deltas: dict[str, torch.Tensor] = {}
    for name, module in model.get_base_model().named_modules():
        if isinstance(module, LoraLayer):
            deltas[name] = module.get_delta_weight("default").detach()
    plain = model.unload().dequantize().float()
    with torch.no_grad():
        for name, delta in deltas.items():
            layer = plain.get_submodule(name)
            assert isinstance(layer, nn.Linear), "quantised layers become linear ones"
            layer.weight.add_(delta.to(layer.weight))
    return plain
