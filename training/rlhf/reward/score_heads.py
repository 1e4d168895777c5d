"""Score heads of ours, beside what an architecture brings along.

`config.json` says which are there, for transformers does not load them:

- A linear head on an encoder: sentence encoders are read by the mean of their hidden states, and
  their own head starts from random numbers.
- The spread of an ensemble: what each of several heads on one trunk adds to the score, which is
  their mean. Where they disagree the votes have not decided, and the score is lowered.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from peft.utils import ModulesToSaveWrapper
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

NAME = "score"
"""The layer, called as that of decoders."""
MARK = "reward_linear_head"
SPREAD = "score_spread"
"""The layer with a row for each head of an ensemble."""
HEADS, TEMPERATURE = "reward_heads", "reward_heads_temperature"


def linear(classifier: nn.Module, name: str) -> nn.Linear | None:
    """A linear head of a classifier by its layer's name, or the one in training of an adapter."""
    layer = getattr(classifier, name, None)
    if isinstance(layer, ModulesToSaveWrapper):
        layer = layer.modules_to_save["default"]
    return layer if isinstance(layer, nn.Linear) else None


def is_on(classifier: nn.Module) -> bool:
    """True of an encoder with a linear head of ours."""
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


def put_ensemble_on(classifier: PreTrainedModel, heads: int, temperature: float) -> None:
    """Give a classifier with a linear head an ensemble of so many, which agree until they learn.

    One that is there with as many heads is kept; with one head there is none, and nor is there on
    an architecture's own head, which is not linear.
    """
    head = linear(classifier, NAME)
    if heads == 1 or head is None:
        if hasattr(classifier, SPREAD):
            delattr(classifier, SPREAD)
        setattr(classifier.config, HEADS, 1)
        return
    setattr(classifier.config, HEADS, heads)
    setattr(classifier.config, TEMPERATURE, temperature)
    there = linear(classifier, SPREAD)
    if there is None or there.out_features != heads:
        layer = nn.Linear(head.in_features, heads, dtype=torch.float32, device=head.weight.device)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        setattr(classifier, SPREAD, layer)


def caution(spread: Tensor, temperature: float) -> Tensor:
    """The difference (n,) of the heads' pessimistic mean from the score.

    The pessimistic mean of scores r_k is -b log mean_k exp(-r_k / b), the entropic risk measure
    (Foellmer and Schied 2002): the mean where b is large, the lowest where it is small, and about
    the mean minus the variance / 2 b between. Coste et al. 2023 (arXiv 2310.02743, section 4) show
    that the lowest, and the mean minus a multiple of the variance, hold over-optimisation up.

    Args:
        spread: (n, k) what each head adds to the score.
        temperature: b, in logits.
    """
    low: Tensor = torch.logsumexp(-spread / temperature, dim=-1) - math.log(spread.shape[-1])
    return -temperature * low


@torch.no_grad()
def centre(classifier: nn.Module, features: Tensor) -> None:
    """Make the score the heads' mean, and every head's own part zero on average over these features
    (n, H): a preference says nothing about the level, so heads that differ in it agree."""
    head, spread = linear(classifier, NAME), linear(classifier, SPREAD)
    if head is None or spread is None:
        return
    mean = spread.weight.mean(dim=0, keepdim=True)
    head.weight.add_(mean.to(head.weight))
    spread.weight.sub_(mean)
    spread.bias.copy_(-(features.to(spread.weight) @ spread.weight.T).mean(dim=0))


def kind_of(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """The architecture's class of classifiers, which leaves our heads in the files to `restored`
    without calling them unexpected. Whatever else it does not expect it still warns of.

    Raises:
        ValueError: it has none.
    """
    kind = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    if kind is None:
        raise ValueError(f"{type(config).__name__} has no classifier")
    ours = [rf"^{NAME}\."] * bool(getattr(config, MARK, False))
    ours += [rf"^{SPREAD}\."] * (getattr(config, HEADS, 1) > 1)
    known = [*(kind._keys_to_ignore_on_load_unexpected or ()), *ours]
    body = {"_keys_to_ignore_on_load_unexpected": known, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), body)


def restored(classifier: PreTrainedModel, folder: str | Path) -> PreTrainedModel:
    """A classifier that was loaded from a folder, with the heads that were saved there."""
    if is_on(classifier):
        put_on(classifier)
    config = classifier.config
    heads = getattr(config, HEADS, 1)
    if heads > 1:
        put_ensemble_on(classifier, heads, getattr(config, TEMPERATURE))
    ours = [f"{NAME}.weight"] * is_on(classifier)
    ours += [f"{SPREAD}.weight", f"{SPREAD}.bias"] * (heads > 1)
    for file in Path(folder).glob("*.safetensors") if ours else ():
        with safe_open(str(file), framework="pt") as opened, torch.no_grad():
            for name in set(ours) & set(opened.keys()):
                classifier.get_parameter(name).copy_(opened.get_tensor(name))
    return classifier
