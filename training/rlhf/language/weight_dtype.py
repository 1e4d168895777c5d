"""The number format that a model's weights are loaded in, where the settings leave it to us."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from training.rlhf.config.model_size import read_facts

SMALL = 1_000_000_000
"""Parameters up to which a CPU that computes slowly in bfloat16 is given float32."""
PRODUCTS = ("avx512_bf16", "amx_tile", "bf16")
"""Names by which torch tells of instructions for products in bfloat16, on x86 and on Arm."""


def resolved(dtype: str, path: str | Path, device: torch.device | str) -> str:
    """`dtype`, or for `auto` the format that suits the model and the device.

    That is bfloat16 where the weights are published in 16 bits and the device computes in it;
    float32 for models that were published so, and for small ones on CPUs that have no instructions
    for it. float16 is never chosen: what is trained in it loses small gradients.
    """
    if dtype != "auto":
        return dtype
    facts = read_facts(path)
    if facts is None or facts.dtype == "float32":
        return "float32"
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if facts.parameters > SMALL or multiplies_in_bfloat16() else "float32"


def multiplies_in_bfloat16() -> bool:
    """True of a CPU with instructions for products in bfloat16: it takes a quarter of the time of
    float32 for them, where others take more."""
    can = torch.cpu.get_capabilities()
    return any(can.get(name) for name in PRODUCTS)


Settings = TypeVar("Settings")


def with_dtype(settings: Settings, path: str | Path, device: torch.device | str) -> Settings:
    """Settings of a trainer, with the format that their `dtype` stands for here."""
    named: Any = settings
    return replace(named, dtype=resolved(named.dtype, path, device))  # type: ignore[no-any-return]
