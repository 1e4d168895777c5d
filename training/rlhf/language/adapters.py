"""LoRA adapters on a model's trunk."""

from __future__ import annotations

from peft import PeftModel
from transformers import PreTrainedModel


def base_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model, with adapters inside when there are any."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
