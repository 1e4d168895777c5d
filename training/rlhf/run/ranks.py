"""The number of this process among those of a launcher. Torch-free.

`torchrun` and `accelerate launch` number the processes that they start in RANK, out of WORLD_SIZE.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def size() -> int:
    """The number of processes that work on this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process. The first, 0, is the one that writes."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """The number of this process on its machine: its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def share(rows: Sequence[T]) -> Sequence[T]:
    """The rows of this process."""
    return rows[rank() :: size()]
