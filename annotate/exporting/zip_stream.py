"""A ZIP file that is written as it is read: constant memory, and the same bytes each time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from itertools import chain
from typing import Any

FIXED = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive."""


class Sink:
    """A file that hands out what was written to it since the last time."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.place = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Keep a copy: the writer uses its buffer again."""
        part = bytes(data)
        self.parts.append(part)
        self.place += len(part)
        return len(part)

    def tell(self) -> int:
        return self.place

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        parts, self.parts = self.parts, []
        return b"".join(parts)


def zipped(folder: Iterator[tuple[str, Iterator[bytes]]]) -> Iterator[bytes]:
    """Names and contents as a ZIP archive, as they come, stored as they are.

    A file without contents is left out.
    """
    sink = Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, parts in folder:
            first = next(parts, None)
            if first is None:
                continue
            with archive.open(zipfile.ZipInfo(name, FIXED), "w", force_zip64=True) as file:
                for part in chain([first], parts):
                    file.write(part)
                    yield sink.taken()
    yield sink.taken()
