"""A linear score head on an encoder, beside the head that its architecture brings along.

Sentence encoders are read by the mean of their hidden states, and their own head starts from random
numbers. `config.json` of the model says that ours is there, for transformers does not load it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedModel

NAME = "score"
"""The layer, called as that of decoders."""
MARK = "reward_linear_head"


def is_on(classifier: nn.Module) -> bool:
    """True of a classifier with this head."""
    return bool(getattr(getattr(classifier, "config", None), MARK, False))


def put_on(classifier: PreTrainedModel) -> None:
    """Give a classifier a linear head of zeros, unless it has one; its own is left untrained."""
    if isinstance(getattr(classifier, NAME, None), nn.Linear):
        return
    trunk = classifier.base_model
    unused = [child for child in classifier.children() if child is not trunk]
    for layer in [*unused, getattr(trunk, "pooler", None)]:
        if isinstance(layer, nn.Module):
            layer.requires_grad_(False)
    head = nn.Linear(classifier.config.hidden_size, 1, bias=False, dtype=torch.float32)
    nn.init.zeros_(head.weight)
    setattr(classifier, NAME, head)
    setattr(classifier.config, MARK, True)


def restored(classifier: PreTrainedModel, folder: str | Path) -> PreTrainedModel:
    """A classifier that was loaded from a folder, with the head that was saved there."""
    if not is_on(classifier):
        return classifier
    put_on(classifier)
    for file in Path(folder).glob("*.safetensors"):
        with safe_open(str(file), framework="pt") as opened:
            if f"{NAME}.weight" in opened.keys():  # noqa: SIM118 - no mapping
                with torch.no_grad():
                    classifier.get_submodule(NAME).weight.copy_(opened.get_tensor(f"{NAME}.weight"))
    return classifier
