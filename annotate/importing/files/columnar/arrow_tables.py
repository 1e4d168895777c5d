"""Arrow's own files and streams, mapped into memory and checked before they are read."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotate.importing.files.bounded_streams import Part
from annotate.importing.files.columnar.arrow_values import columns_of, rows_of
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.problems import Refused, Unreadable

FILE = b"ARROW1\0\0"
MAX_UNPACKED = 64_000_000
"""Bytes of a compressed batch, which is unpacked as a whole."""
DAMAGED = (pa.ArrowException, OSError, ValueError, OverflowError, struct.error, IndexError)


class Arrow(Reader):
    unit = "row"

    def __init__(self, part: Part, head: Head) -> None:
        super().__init__(part, head)
        # A file is a stream between two magic words, with an index behind it.
        is_file = head.data.startswith(FILE)
        self.title = "Arrow file" if is_file else "Arrow stream"
        self._skipped = len(FILE) if is_file else 0
        self._at = 0
        self._size = 1
        try:
            mapped = self._mapped()
            # Read as a stream, a file that was cut between two batches would be a shorter one.
            if is_file and mapped.slice(max(0, mapped.size - 6)).to_pybytes() != FILE[:6]:
                raise Unreadable("The Arrow file is damaged: it was cut off.")
            with pa.ipc.open_stream(pa.BufferReader(mapped)) as stream:
                schema = stream.schema
        except Unreadable:
            raise
        except DAMAGED as error:
            raise Unreadable(f"The Arrow file is damaged: {error}.") from error
        self.columns = columns_of(schema)

    def rows(self) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        number = 0
        for batch in self._batches():
            for row in rows_of(batch):
                number += 1
                yield Place("", number), row

    def share(self) -> float:
        return min(1.0, self._at / self._size)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        buffer, number = self._mapped(), 0
        try:
            messages = pa.ipc.MessageReader.open_stream(pa.BufferReader(buffer))
            with pa.ipc.open_stream(pa.BufferReader(buffer)) as stream:
                self._at = 0
                while self._next_is_a_batch(messages):
                    batch = stream.read_next_batch()
                    # A wrong offset in a column would be read as an address.
                    batch.validate(full=True)
                    number += 1
                    yield batch
        except Unreadable:
            raise
        except DAMAGED as error:
            told = str(error)[:200] or "it was cut off"
            raise Unreadable(
                f"The Arrow file is damaged in batch {number + 1:,}: {told}."
            ) from error

    def _next_is_a_batch(self, messages: Any) -> bool:
        """Look at the messages up to the next batch; False at the end."""
        while True:
            try:
                message = messages.read_next_message()
            except StopIteration:
                return False
            self._at += message.metadata.size + message.body.size if message.body else 0
            if message.type in ("record batch", "dictionary"):
                _check_unpacked(message)
            if message.type == "record batch":
                return True

    def _mapped(self) -> pa.Buffer:
        """The stream, of which only the pages that are looked at come into memory."""
        file, start, size = self.part.mappable()
        buffer = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._size = size
        return buffer.slice(start + self._skipped, size - self._skipped)


def _check_unpacked(message: Any) -> None:
    """Refuse a batch that says it is large once it is unpacked: it is unpacked before it can be
    looked at. The place of its buffers is told by a table of FlatBuffers."""
    table = _Table.root(message.metadata.to_pybytes())
    batch = table.table(2)
    if message.type == "dictionary":
        batch = batch.table(1)
    if not batch.has(3):
        return
    unpacked = 0
    for offset, length in batch.pairs(2):
        if length >= 8:
            unpacked += max(length, *struct.unpack("<q", message.body[offset : offset + 8]))
    if unpacked > MAX_UNPACKED:
        raise Unreadable(
            f"The Arrow file holds a batch of {unpacked:,} bytes unpacked; at most "
            f"{MAX_UNPACKED:,} are read. Write it in smaller batches, or as Parquet."
        )


class _Table:
    """A table of FlatBuffers: fields by number, of those types that a batch has."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _field(self, number: int) -> int:
        """The place of the field; 0 of one that is not there."""
        fields = self._at - struct.unpack_from("<i", self._data, self._at)[0]
        if 4 + 2 * number >= struct.unpack_from("<H", self._data, fields)[0]:
            return 0
        offset: int = struct.unpack_from("<H", self._data, fields + 4 + 2 * number)[0]
        return self._at + offset if offset else 0

    def has(self, number: int) -> bool:
        return bool(self._field(number))

    def _target(self, number: int) -> int:
        at = self._field(number)
        return at + int(struct.unpack_from("<I", self._data, at)[0])

    def table(self, number: int) -> _Table:
        return _Table(self._data, self._target(number))

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """A vector of pairs of 64-bit numbers."""
        at = self._target(number)
        count = struct.unpack_from("<I", self._data, at)[0]
        return [struct.unpack_from("<qq", self._data, at + 4 + 16 * i) for i in range(count)]
