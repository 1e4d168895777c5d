"""Parquet, read in batches that are small whatever the file says of itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.importing.files.columnar.arrow_values import columns_of, rows_of
from annotate.importing.files.columnar.parquet_pages import pages
from annotate.importing.files.parts import Part
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.problems import Refused, Unreadable

MAX_FOOTER = 8_000_000
"""Bytes of the metadata, which become ten times as many in memory."""
MAX_PAGES = 64_000_000
"""Bytes of the largest pages of all columns, unpacked: they are in memory together."""
BATCH_BYTES, BATCH_ROWS = 32_000_000, 1_000
BATCH_VALUES = 2_000_000
"""Entries of nested columns in a batch: a null in a list takes a bit in the file."""
DAMAGED = (pa.ArrowException, OSError, ValueError, OverflowError)


class _Needs(NamedTuple):
    """What the batches of a row group take."""

    rows: int
    """Per batch."""
    dictionaries: list[str]
    """Paths of the text columns with a dictionary: they stay numbers of its entries, or a single
    long entry would be written out for every row."""


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
            needs = self._needs(group)
            for batch in self._batches(group, needs):
                for row in rows_of(batch):
                    self._given += 1
                    yield Place("", self._given), row
        if self._given != self._metadata.num_rows:
            raise Unreadable(
                f"The Parquet file says that it holds {self._metadata.num_rows:,} rows, and there "
                f"are {self._given:,}. It is damaged."
            )

    def share(self) -> float:
        return self._given / max(1, self._metadata.num_rows)

    def _batches(self, group: int, needs: _Needs) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._opened(needs.dictionaries).iter_batches(
                needs.rows, row_groups=[group], use_threads=False
            )
        except Unreadable:
            raise
        except DAMAGED as error:
            raise Unreadable(
                f"The Parquet file is damaged after row {self._given:,}: {str(error)[:200]}."
            ) from error

    def _opened(self, dictionaries: list[str]) -> pq.ParquetFile:
        self._file.seek(0)
        return pq.ParquetFile(
            self._file, read_dictionary=dictionaries, pre_buffer=False, buffer_size=64 * 1024
        )

    def _needs(self, group: int) -> _Needs:
        """Rows per batch such that no batch takes more than BATCH_BYTES, by the pages' headers."""
        told = self._metadata.row_group(group)
        together, per_row, nested_page, nested_values = 0, 0.0, 0, 1
        dictionaries = []
        for number in range(told.num_columns):
            column, schema = told.column(number), self._schema.column(number)
            largest, widest, most, dictionary = self._pages(column)
            together += largest
            if schema.max_repetition_level:
                # A page does not say how many rows it holds: it may be a single one.
                nested_page, nested_values = nested_page + largest, max(nested_values, most)
            else:
                per_row += widest
            if dictionary and column.physical_type == "BYTE_ARRAY":
                dictionaries.append(column.path_in_schema)
        if together > MAX_PAGES:
            raise Unreadable(
                f"Row group {group + 1:,} of the Parquet file has pages of {together:,} bytes "
                f"unpacked; at most {MAX_PAGES:,} are read. Write it with smaller pages."
            )
        rows = min(
            BATCH_ROWS,
            BATCH_BYTES / max(1.0, per_row),
            BATCH_BYTES / max(1, nested_page),
            BATCH_VALUES / nested_values,
        )
        return _Needs(max(1, int(rows)), dictionaries)

    def _pages(self, column: Any) -> tuple[int, float, int, bool]:
        """Bytes of the largest page, bytes per value of the widest, values of the fullest, and
        whether there is a dictionary."""
        start = column.data_page_offset
        if column.dictionary_page_offset is not None:
            start = min(start, column.dictionary_page_offset)
        largest, widest, most, dictionary = 0, 0.0, 0, False
        for page in pages(self._file, start, column.total_compressed_size):
            largest = max(largest, page.unpacked)
            dictionary = dictionary or page.is_dictionary
            if not page.is_dictionary:
                widest = max(widest, page.unpacked / max(1, page.values))
                most = max(most, page.values)
        return largest, widest, most, dictionary


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
