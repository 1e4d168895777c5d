"""Exports as gzip or Zstandard, the same bytes each time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


# No file name and no time stand in the header of a gzip stream that zlib writes.
_COMPRESSORS: dict[str, Callable[[], _Compressor]] = {
    "gzip": lambda: zlib.compressobj(6, wbits=31),
    "zstd": lambda: zstandard.ZstdCompressor(level=3).compressobj(),
}


def compressed(parts: Iterator[bytes], name: str) -> Iterator[bytes]:
    """The parts as one stream; nothing stays nothing. `name` is none, gzip or zstd."""
    if name == "none":
        return parts
    return _compressed(parts, _COMPRESSORS[name]())


def _compressed(parts: Iterator[bytes], compressor: _Compressor) -> Iterator[bytes]:
    empty = True
    for part in parts:
        empty = False
        if out := compressor.compress(part):
            yield out
    if not empty:
        yield compressor.flush()
