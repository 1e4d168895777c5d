"""Frozen weights in 8 or 4 bits, by bitsandbytes."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from training.rlhf.run.failures import ModelError

PACKS = "support_avx512bf16_for_cpu"
"""Flag of bitsandbytes' 4-bit layers that lets them pack their weights."""


def quantisation(kind: str, *, keep: Sequence[str]) -> BitsAndBytesConfig | None:
    """The settings that load weights in fewer bits, all but the layers in `keep`; None for `none`.

    Raises:
        ModelError: bitsandbytes is not installed.
    """
    if kind == "none":
        return None
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantise {kind} needs bitsandbytes: pip install -r requirements-extras.txt"
        )
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(keep))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=list(keep),
    )


def without_packing(model: nn.Module) -> None:
    """Keep 4-bit weights as they are on a CPU with AVX512-BF16.

    There bitsandbytes packs them anew when it first reads in evaluation mode, for speed: packed
    weights pass no gradients on, and are taken for unpacked ones when they are dequantised (0.50).
    """
    for module in model.modules():
        if hasattr(module, PACKS):
            setattr(module, PACKS, False)
