"""LoRA adapters (Hu et al. 2021, arXiv 2106.09685) on a model's trunk, by PEFT."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from training.rlhf.config import LoraConfig
from training.rlhf.run.failures import ModelError

log = logging.getLogger(__name__)

ADAPTER_SETTINGS = "adapter_config.json"


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
