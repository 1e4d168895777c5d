"""Random numbers that depend on nothing but their arguments, so that a resumed run repeats them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def random_source(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A generator of its own for each seed, purpose and numbers (such as the update's)."""
    words = [seed % 2**63, *purpose.encode(), *numbers]
    return np.random.default_rng(np.random.SeedSequence(words))


def draws(rows: int, tokens: int, *, seed: int) -> Tensor:
    """The random numbers (rows, tokens) that replies are drawn with, uniform in [0, 1)."""
    return torch.rand((rows, tokens), generator=torch.Generator().manual_seed(seed))
