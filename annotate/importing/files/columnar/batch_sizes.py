"""The size of batches in which a row group of Parquet stays small in memory, whatever is in it.

A thousand rows may be a thousand references to one megabyte of a dictionary, and one row may hold
all the values of a page: what a batch can take at most follows from the pages' headers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import pyarrow as pa

from annotate.importing.files.columnar.parquet_pages import Page, pages
from annotate.importing.problems import Unreadable

MAX_PAGES = 64_000_000
"""Bytes of the largest pages of all columns, unpacked: they are in memory together."""
BATCH_BYTES, BATCH_ROWS = 32_000_000, 1_000
LEVELS = 8
"""Bytes of the levels of nesting of each value, or of a number."""
MAX_ENTRIES = 300_000
"""Entries of a dictionary that are looked at: about a tenth of a second."""
DELTA_BYTE_ARRAY = 7
"""An encoding in which each value repeats the beginning of the one before for nothing."""


class BatchSize(NamedTuple):
    rows: int
    as_dictionaries: list[str]
    """Paths of the columns that are read as numbers of the entries of a dictionary."""


@dataclass
class _Column:
    """The most that a column takes, in bytes."""

    path: str
    nested: bool
    largest_page: int
    per_row: float
    """Of one row, beyond the pages that are in memory anyway."""
    whole: float
    """Of all rows of the group."""
    shares: bool
    """True when `per_row` is large for the repeating of a dictionary's entries alone."""


def batch_size(file: IO[bytes], metadata: Any, schema: Any, group: int) -> BatchSize:
    """The size of batches of a row group. Raises Unreadable where one row may be too large."""
    told = metadata.row_group(group)
    columns = [
        _column(file, told.column(number), schema.column(number), told.num_rows)
        for number in range(told.num_columns)
    ]
    together = sum(column.largest_page for column in columns)
    if together > MAX_PAGES:
        raise Unreadable(
            f"Row group {group + 1:,} of the Parquet file has pages of {together:,} bytes "
            f"unpacked; at most {MAX_PAGES:,} are read. Write it with smaller pages."
        )
    as_dictionaries = []
    for column in columns:
        if column.shares:
            as_dictionaries.append(column.path)
        elif min(column.per_row, column.whole) > MAX_PAGES:
            raise Unreadable(
                f"Row group {group + 1:,} of the Parquet file may hold rows of "
                f"{int(column.per_row):,} bytes in {column.path[:60]}. Save it as JSON lines."
            )
    rows = BATCH_ROWS
    while rows > 1 and sum(min(rows * c.per_row, c.whole) for c in columns) > BATCH_BYTES:
        rows //= 2
    return BatchSize(rows, as_dictionaries)


def _column(file: IO[bytes], told: Any, schema: Any, rows: int) -> _Column:
    """Raises Unreadable where the pages do not hold the rows that the metadata tells of."""
    # A column without rows has a dictionary alone, and 0 for the place of its data.
    start = min(filter(None, (told.data_page_offset, told.dictionary_page_offset)), default=0)
    every = list(pages(file, start, told.total_compressed_size))
    dictionaries = [page for page in every if page.is_dictionary]
    data = [page for page in every if not page.is_dictionary]
    entry = max((_longest_entry(file, page, told) for page in dictionaries), default=0)
    delta = max((page.unpacked for page in data if page.encoding == DELTA_BYTE_ARRAY), default=0)
    widest = LEVELS + max(entry, delta)
    largest = max((page.unpacked for page in every), default=0)
    values = sum(page.values for page in data)
    plain = sum(page.unpacked for page in data)
    path, nested = told.path_in_schema, schema.max_repetition_level > 0
    if values < rows or (values > rows and not nested):
        raise Unreadable(
            f"The Parquet file says that a group holds {rows:,} rows, and its column {path[:60]} "
            f"holds {values:,} values. It is damaged."
        )
    if not nested:
        spread = max((page.unpacked / max(1, page.values) for page in data), default=0.0)
        return _Column(path, False, largest, widest + spread, values * widest + plain, False)
    fullest = max((page.values for page in data), default=0)
    per_row, whole = float(fullest * widest + largest), float(values * widest + plain)
    # Read as a dictionary, an entry is there once however often it is said. That is slow, and
    # what is not in the dictionary of the file is added to it: only where it has to be.
    shares = min(per_row, whole) > BATCH_BYTES and not delta and plain <= BATCH_BYTES and entry > 0
    if shares:
        per_row, whole = float(fullest * LEVELS + largest), float(values * LEVELS + plain)
    return _Column(path, True, largest, per_row, whole, shares)


def _longest_entry(file: IO[bytes], page: Page, told: Any) -> int:
    """Bytes of the longest entry of a dictionary, or of the whole where that cannot be told."""
    if told.physical_type != "BYTE_ARRAY":
        return page.unpacked // max(1, page.values)
    if page.unpacked > MAX_PAGES or page.values > MAX_ENTRIES:
        return page.unpacked
    file.seek(page.start)
    content = file.read(page.packed)
    if told.compression != "UNCOMPRESSED":
        try:
            codec = pa.Codec(told.compression.lower())
            content = codec.decompress(content, page.unpacked).to_pybytes()
        except (pa.ArrowException, OSError, ValueError):
            return page.unpacked
    at = longest = 0
    while at + 4 <= len(content):
        length: int = struct.unpack_from("<I", content, at)[0]
        longest = max(longest, length)
        at += 4 + length
    return min(longest, page.unpacked)
