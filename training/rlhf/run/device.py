"""The device and memory of this process: where it computes, with how many threads, which seed."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from training.rlhf.run import failures
from training.rlhf.run.failures import ModelError, OutOfMemory

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turn what torch raises when memory runs out into OutOfMemory with `advice`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not failures.is_out_of_memory(error):
            raise
        text = " ".join(str(error).split())[:200]
        raise OutOfMemory(f"out of memory: {advice} ({text})") from error


def resolve_device(name: str) -> torch.device:
    """Turn `auto`, `cpu` or `cuda` (or `cuda:1`) into a device.

    Raises:
        ModelError: CUDA was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if available else "cpu")
    if name.startswith("cuda") and not available:
        raise ModelError("device is cuda, but this machine has no usable GPU; use auto or cpu")
    return torch.device(name)


def fix_threads(threads: int) -> None:
    """Fix the number of CPU threads (0 leaves torch's default): sums then add up in one order."""
    if threads > 0:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next pass, where it can be told to (glibc).

    It would give the memory of a pass back to the system, and the next one would fault it in again
    page by page: a twentieth of the CPU time of a small model's PPO.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**25)  # bytes; what is larger still goes back at once
        mallopt(M_TRIM_THRESHOLD, 2**28)  # bytes that are kept


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
