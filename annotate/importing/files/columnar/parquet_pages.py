"""Pages of a Parquet file, told by their own headers: what pyarrow will unpack, before it does.

The metadata at the end of the file may say anything; the headers are what the reader obeys.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from annotate.importing.problems import Unreadable

HEADER = 4096
MAX_HEADER = 1 << 20
"""Bytes of a header: it holds the smallest and the largest value of the page."""
DICTIONARY = 2
STOP, TRUE, FALSE, BYTE, DOUBLE, BINARY = 0, 1, 2, 3, 7, 8
INTEGERS = (4, 5, 6)
LIST, SET, STRUCT = 9, 10, 12
MAX_NESTING = 8


class Page(NamedTuple):
    """A page as its header tells of it."""

    is_dictionary: bool
    start: int
    """Of its content in the file."""
    packed: int
    unpacked: int
    values: int
    """Entries of all levels of nesting."""
    encoding: int


def pages(file: IO[bytes], start: int, length: int) -> Iterator[Page]:
    """The pages of one column in one row group. Raises Unreadable where there are none."""
    at, end = start, start + length
    while at < end:
        header, size = _header(file, at)
        kind, unpacked, packed = (header.get(number) for number in (1, 2, 3))
        if not (isinstance(unpacked, int) and isinstance(packed, int)) or min(unpacked, packed) < 0:
            raise Unreadable(f"The Parquet file is damaged: no page begins at byte {at:,}.")
        told = header.get(5) or header.get(7) or header.get(8) or {}
        count, encoding = told.get(1, 0), told.get(4 if 8 in header else 2, 0)
        yield Page(kind == DICTIONARY, at + size, packed, unpacked, max(0, count), encoding)
        at += size + packed


def _header(file: IO[bytes], at: int) -> tuple[dict[int, Any], int]:
    size = HEADER
    while True:
        file.seek(at)
        data = file.read(size)
        stream = io.BytesIO(data)
        try:
            header = _struct(stream, 0)
            if all(isinstance(header.get(number, {}), dict) for number in (5, 7, 8)):
                return header, stream.tell()
            raise EOFError
        except EOFError:
            if len(data) < size or size >= MAX_HEADER:
                raise Unreadable(
                    f"The Parquet file is damaged: the page at byte {at:,} has no end."
                ) from None
            size *= 16


def _struct(stream: io.BytesIO, depth: int) -> dict[int, Any]:
    """A struct of Thrift's compact protocol, by the numbers of its fields."""
    if depth > MAX_NESTING:
        raise EOFError
    fields: dict[int, Any] = {}
    number = 0
    while (byte := _byte(stream)) != STOP:
        number = number + (byte >> 4) if byte >> 4 else _zigzag(stream)
        fields[number] = _value(stream, byte & 15, depth)
    return fields


def _value(stream: io.BytesIO, kind: int, depth: int) -> Any:
    if kind in (TRUE, FALSE):
        return kind == TRUE
    if kind == BYTE:
        return _byte(stream)
    if kind in INTEGERS:
        return _zigzag(stream)
    if kind == STRUCT:
        return _struct(stream, depth + 1)
    if kind in (BINARY, DOUBLE):
        size = 8 if kind == DOUBLE else _varint(stream)
        if len(stream.read(size)) < size:
            raise EOFError
        return None
    raise EOFError  # Headers hold neither lists nor maps.


def _byte(stream: io.BytesIO) -> int:
    byte = stream.read(1)
    if not byte:
        raise EOFError
    return byte[0]


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = _byte(stream)
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value
        if shift > 63:
            raise EOFError


def _zigzag(stream: io.BytesIO) -> int:
    value = _varint(stream)
    return (value >> 1) ^ -(value & 1)
