"""Array types and functions that metrics and acquisition share. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def sigmoid(x: Floats) -> Floats:
    """Logistic function without overflow."""
    out: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return out
