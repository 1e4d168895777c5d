"""Minibatches of rows of different lengths, cut into the passes that compute least.

A pass is one forward and backward through the model; a minibatch, one step of the optimiser, may
take several. Of several processes each gets its share of every minibatch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.rlhf.run import ranks

Ints = np.ndarray[Any, np.dtype[np.int64]]

CPU_PASS_COST = 64
"""Tokens whose computation costs as much as one more forward and backward pass: measured; the pass
adds to every gradient once more and calls every layer again."""
GPU_PASS_COST = 1024
"""The same on a GPU, estimated: calling the kernels of 24 layers takes some 30 ms, in which an H100
trains 0.5B parameters on that many tokens and more."""


def pass_cost(device: str) -> int:
    """The cost of a pass on a kind of device (`cpu` or another), in tokens."""
    return CPU_PASS_COST if device == "cpu" else GPU_PASS_COST


def cheapest_passes(widths: Ints, *, cost: int) -> list[slice]:
    """Cut rows, the widest first, into the passes that compute least.

    A pass computes its rows, padded to its first one, and `cost` tokens' worth besides. Exact, by
    dynamic programming over where the last pass begins.
    """
    least, begins = np.zeros(len(widths) + 1), [0]
    for end in range(1, len(widths) + 1):
        totals = least[:end] + widths[:end] * np.arange(end, 0, -1) + cost
        begins.append(int(totals.argmin()))
        least[end] = totals[begins[end]]
    passes, end = [], len(widths)
    while end:
        passes.append(slice(begins[end], end))
        end = begins[end]
    return passes[::-1]


def minibatches(
    order: Ints, widths: Sequence[int], *, size: int, parts: int, cost: int
) -> Iterator[list[Tensor]]:
    """Yield the row numbers of each minibatch, pass by pass.

    Args:
        order: (B,) the rows of an epoch, shuffled.
        widths: (B,) tokens of each row.
        size: rows of a minibatch, in all processes.
        parts: passes that a minibatch is cut into at least (gradient accumulation).
        cost: of a pass, in tokens.
    """
    sizes = np.array(widths)
    for start in range(0, len(order), size):
        rows = np.sort(order[start : start + size])
        # The widest first, so that running out of memory shows at once.
        rows = rows[np.argsort(-sizes[rows], kind="stable")]
        shares = np.array_split(np.asarray(ranks.share(list(rows))), parts)
        yield [
            torch.from_numpy(share[cut])
            for share in shares
            for cut in cheapest_passes(sizes[share], cost=cost)
        ]
