"""Files of a job that writes completions, which grow line by line and survive a kill.

Torch-free.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]

BLOCK = 1 << 16
"""Bytes that are looked through at a time for the last whole line."""


class GrowingFile:
    """JSON lines that are appended one at a time: after a kill all whole lines are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._end_torn_line()

    def rows(self) -> Iterator[Row]:
        """Every row, in the order in which they were appended."""
        with self.path.open("rb") as lines:
            yield from map(json.loads, lines)

    def append(self, row: Row) -> None:
        # One write to an O_APPEND file: a reader sees a line whole or not yet.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, json.dumps(row, ensure_ascii=False).encode() + b"\n")
        finally:
            os.close(descriptor)

    def _end_torn_line(self) -> None:
        """Drop what a killed writer left of a line; it is written again."""
        with self.path.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - BLOCK)
                file.seek(start)
                newline = file.read(end - start).rfind(b"\n")
                if newline >= 0:
                    end = start + newline + 1
                    break
                end = start
            file.truncate(end)


@dataclass(frozen=True)
class Place:
    """One reply of the job: whose, to which prompt, and the number of the sample."""

    prompt_id: str
    source: str
    sample: int

    def row(self) -> Row:
        return {"prompt_id": self.prompt_id, "source": self.source, "sample": self.sample}

    @classmethod
    def of(cls, row: Row) -> Place:
        return cls(row["prompt_id"], row["source"], row["sample"])
