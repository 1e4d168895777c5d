"""Parquet, read in batches that are small whatever the file says of itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.importing.files.bounded_streams import Part
from annotate.importing.files.columnar.arrow_values import columns_of, rows_of
from annotate.importing.files.columnar.batch_sizes import batch_size
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.problems import Refused, Unreadable

MAX_FOOTER = 8_000_000
"""Bytes of the metadata, which become ten times as many in memory."""
DAMAGED = (pa.ArrowException, OSError, ValueError, OverflowError)
JOINED_BYTES, JOINED_ROWS = 24_000_000, 1_000
"""Batches become rows of Python together until pyarrow holds so much, for any thread, or they
have so many rows: each takes its time, and asking a batch for its own size takes longest."""


class Parquet(Reader):
    title, unit = "Parquet", "row"

    def __init__(self, part: Part, head: Head) -> None:
        super().__init__(part, head)
        self._file = part.seekable
        self._given = 0
        _check_footer(self._file)
        try:
            opened = self._opened([])
            self._metadata, self._schema = opened.metadata, opened.schema
            schema = opened.schema_arrow
        except DAMAGED as error:
            raise Unreadable(f"The Parquet file is damaged: {error}.") from error
        self.columns = columns_of(schema)

    def rows(self) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        self._given = 0
        for group in range(self._metadata.num_row_groups):
            batches: list[pa.RecordBatch] = []
            rows, before = 0, pa.total_allocated_bytes()
            for batch in self._batches(group):
                batches.append(batch)
                rows += batch.num_rows
                if rows >= JOINED_ROWS or pa.total_allocated_bytes() - before >= JOINED_BYTES:
                    yield from self._numbered(batches)
                    batches, rows = [], 0
            yield from self._numbered(batches)
        if self._given != self._metadata.num_rows:
            raise Unreadable(
                f"The Parquet file says that it holds {self._metadata.num_rows:,} rows, and there "
                f"are {self._given:,}. It is damaged."
            )

    def share(self) -> float:
        return min(1.0, self._given / max(1, int(self._metadata.num_rows)))

    def _numbered(
        self, batches: list[pa.RecordBatch]
    ) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        if not batches:
            return
        for batch in pa.Table.from_batches(batches).combine_chunks().to_batches():
            for row in rows_of(batch):
                self._given += 1
                yield Place("", self._given), row

    def _batches(self, group: int) -> Iterator[pa.RecordBatch]:
        try:
            size = batch_size(self._file, self._metadata, self._schema, group)
            yield from self._opened(size.as_dictionaries).iter_batches(
                size.rows, row_groups=[group], use_threads=False
            )
        except Unreadable:
            raise
        except DAMAGED as error:
            raise Unreadable(
                f"The Parquet file is damaged in row group {group + 1:,}: {str(error)[:200]}."
            ) from error

    def _opened(self, as_dictionaries: list[str]) -> pq.ParquetFile:
        self._file.seek(0)
        return pq.ParquetFile(
            self._file, read_dictionary=as_dictionaries, pre_buffer=False, buffer_size=64 * 1024
        )


def _check_footer(file: IO[bytes]) -> None:
    size = file.seek(0, 2)
    file.seek(max(0, size - 8))
    end = file.read(8)
    if size < 12 or not end.endswith(b"PAR1"):
        told = "it is encrypted" if end.endswith(b"PARE") else "it was cut off"
        raise Unreadable(f"The Parquet file has no end that can be read: {told}.")
    length = struct.unpack("<L", end[:4])[0]
    if length > min(size, MAX_FOOTER):
        raise Unreadable(
            f"The Parquet file has metadata of {length:,} bytes; at most {MAX_FOOTER:,} are read."
        )
