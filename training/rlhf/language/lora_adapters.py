"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685): put on a model by PEFT, and merged into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel

from training.rlhf.config import LoraConfig
from training.rlhf.run.failures import ModelError

log = logging.getLogger(__name__)

ADAPTER_SETTINGS = "adapter_config.json"
HEADS = ("score", "classifier", "pre_classifier", "classification_head", "pooler", "head")
"""Layers that are new or nearly so: trained whole, never quantised."""


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model, with adapters inside when there are any."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def adapter_base(path: str | Path) -> str | None:
    """Return the base that an adapter folder names, or None when the folder is no adapter.

    Raises:
        ModelError: the adapter was saved without its base or not as safetensors.
    """
    folder = Path(path)
    if not (folder / ADAPTER_SETTINGS).exists():
        return None
    if not (folder / "adapter_model.safetensors").exists():
        raise ModelError(f"{folder} holds no adapter_model.safetensors")
    base = json.loads((folder / ADAPTER_SETTINGS).read_text("utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{folder} does not say which model it adapts")
    beside = folder / base
    return str(beside.resolve()) if beside.is_dir() else str(base)


def attach_adapter(
    trunk: PreTrainedModel, path: str | Path, *, name: str = "default", trainable: bool = False
) -> PeftModel:
    """Put a saved adapter on a loaded trunk without merging it."""
    return PeftModel.from_pretrained(trunk, str(path), adapter_name=name, is_trainable=trainable)


def new_adapter(trunk: PreTrainedModel, config: LoraConfig, *, base: str | Path) -> PeftModel:
    """Put a new trainable LoRA adapter (a no-op until trained) on a trunk that came from `base`.

    Draws from torch's global generator: seed it first.
    """
    target: Any = targets(trunk, config)
    adapter = PeftLoraConfig(
        r=config.r,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=target,
        task_type=TaskType.SEQ_2_SEQ_LM if trunk.config.is_encoder_decoder else TaskType.CAUSAL_LM,
        fan_in_fan_out=_has_conv1d(trunk),
    )
    model = get_peft_model(trunk, adapter)
    model.peft_config["default"].base_model_name_or_path = stable_path(base)
    return model


def new_classifier_adapter(classifier: PreTrainedModel, lora: LoraConfig) -> PeftModel:
    """Put trainable adapters on a classifier's trunk; its head is trained whole. `config.json` of
    the model records which layers they were on.

    Draws from torch's global generator: seed it first.
    """
    target: Any = targets(classifier, lora)
    config = PeftLoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,  # off for good, as all dropout
        target_modules=target,
        modules_to_save=_heads(classifier),
        fan_in_fan_out=_has_conv1d(classifier),
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
    """Layers outside the trunk, and a pooler inside it: some checkpoints come without one. Those
    that were frozen before are not read."""
    trunk = classifier.base_model
    heads = {name: child for name, child in classifier.named_children() if child is not trunk}
    heads |= {"pooler": trunk.pooler} if getattr(trunk, "pooler", None) is not None else {}
    return [name for name, head in heads.items() if any(p.requires_grad for p in head.parameters())]


def merge_saved(trunk: PreTrainedModel, path: str | Path) -> PreTrainedModel:
    """The trunk with a saved adapter added to its weights, in the format that it was loaded in."""
    merged = attach_adapter(trunk, path).merge_and_unload()
    return merged.requires_grad_(True)  # PEFT leaves the trunk frozen


def merge_in_float32(model: PeftModel) -> PreTrainedModel:
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


def targets(model: nn.Module, config: LoraConfig) -> str | list[str]:
    """The layers that adapters go on: those that are named, or all linear ones where this model has
    none of them, as when a recipe for GPT-2 is given a Llama.

    The adapter's folder records by name which they are.
    """
    wanted = config.target_modules
    if isinstance(wanted, str):
        return wanted
    if missing_targets(model, wanted) != list(wanted):
        return list(wanted)
    told = type(model).__name__, ", ".join(wanted)
    log.warning("%s has no layers called %s: adapters go on all linear layers", *told)
    return "all-linear"


def missing_targets(model: nn.Module, wanted: Sequence[str]) -> list[str]:
    """Those of these layers that a model has not."""
    names = [name for name, _ in model.named_modules()]
    return [
        one for one in wanted if not any(name == one or name.endswith(f".{one}") for name in names)
    ]


def _has_conv1d(model: nn.Module) -> bool:
    """True for GPT-2, which keeps its weights transposed; PEFT only warns when it is not told."""
    return any(type(module).__name__ == "Conv1D" for module in model.modules())


def stable_path(path: str | Path) -> str:
    """Return a local folder as an absolute path and leave a hub id as it is."""
    return str(Path(path).resolve()) if Path(path).is_dir() else str(path)
