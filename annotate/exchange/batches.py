"""Rows in batches, so that nothing has to fit in memory or in one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Row = TypeVar("Row")
BATCH = 500


def batched(rows: Iterable[Row], size: int = BATCH) -> Iterator[tuple[Row, ...]]:
    """The rows in tuples of `size`, the last one shorter."""
    iterator = iter(rows)
    while batch := tuple(islice(iterator, size)):
        yield batch
