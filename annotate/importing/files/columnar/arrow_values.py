"""Columns of Arrow as rows of plain JSON values."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from annotate.importing.files.strict_json import check_text, too_long
from annotate.importing.limits import MAX_COLUMN, MAX_COLUMNS, MAX_DEPTH, MAX_ROW
from annotate.importing.problems import Refused, Unreadable

SLICE_BYTES = 8_000_000
"""Bytes of columns that are made objects of Python at once."""
SLICE_ROWS = 1_000


class _Wrong:
    """A value that JSON cannot hold, with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def columns_of(schema: pa.Schema) -> list[str]:
    """The names of the columns. Raises Unreadable of tables that cannot become rows."""
    names = [str(name) for name in schema.names]
    if len(names) > MAX_COLUMNS:
        raise Unreadable(f"It has {len(names):,} columns; at most {MAX_COLUMNS:,} are read.")
    long = next((name for name in names if len(name) > MAX_COLUMN), None)
    if long is not None:
        raise Unreadable(f"Column {long[:40]!r}: {too_long(long)}.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Unreadable(f"It has two columns {twice[:40]!r}.")
    for field in schema:
        _check_type(field.type, field.name, 1)
    return names


def _check_type(kind: pa.DataType, column: str, depth: int) -> None:
    """Views, unions and runs may claim any size with few bytes, and no data set is kept in them."""
    if depth > MAX_DEPTH:
        raise Unreadable(f"Column {column[:40]!r} is nested deeper than {MAX_DEPTH}.")
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    known = types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind)
    known = known or types.is_string(kind) or types.is_large_string(kind)
    known = known or types.is_binary(kind) or types.is_large_binary(kind)
    known = known or types.is_fixed_size_binary(kind)
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if listed or types.is_dictionary(kind):
        _check_type(kind.value_type, column, depth + 1)
    elif types.is_struct(kind):
        for number in range(kind.num_fields):
            _check_type(kind.field(number).type, column, depth + 1)
    elif types.is_map(kind):
        _check_type(kind.key_type, column, depth + 1)
        _check_type(kind.item_type, column, depth + 1)
    elif not known or types.is_interval(kind):
        raise Unreadable(f"Column {column[:40]!r} is of type {kind}, which is not read.")


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Refused]:
    """The rows, a slice of them at a time in memory."""
    for start in range(0, batch.num_rows, SLICE_ROWS):
        yield from _slice_rows(batch.slice(start, SLICE_ROWS))


def _slice_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | Refused]:
    shared = sum(c.dictionary.nbytes for c in batch.columns if types.is_dictionary(c.type))
    if batch.nbytes - shared > SLICE_BYTES:
        if batch.num_rows == 1:
            yield Refused("", f"the row is longer than {MAX_ROW:,} bytes")
            return
        half = batch.num_rows // 2
        yield from _slice_rows(batch.slice(0, half))
        yield from _slice_rows(batch.slice(half))
        return
    names = batch.schema.names
    columns = [values(column) for column in batch.columns]
    for cells in zip(*columns, strict=True):
        row = dict(zip(names, cells, strict=True))
        yield _refusal(row) or row


def _refusal(row: dict[str, Any]) -> Refused | None:
    length = 0
    try:
        for name, cell in row.items():
            # Most cells are short texts: the look at one is as short as can be.
            if type(cell) is str:
                length += len(cell)
                if "\x00" in cell:
                    check_text(cell, name)
            elif cell is not None:
                length += _length(cell, name)
    except Refused as refused:
        return refused
    if length > MAX_ROW:
        return Refused("", f"the row is longer than {MAX_ROW:,} bytes")
    return None


def _length(cell: Any, column: str) -> int:
    """The length of what a cell holds; Refused is raised of what cannot be stored."""
    kind = type(cell)
    if kind is str:
        if "\x00" in cell:
            check_text(cell, column)
        return len(cell)
    if kind is list or kind is dict:
        length = 1
        for item in cell if kind is list else cell.values():
            length += _length(item, column)
        return length
    if kind is _Wrong:
        raise Refused(column[:40], cell.reason)
    return 1


def values(array: pa.Array) -> list[Any]:
    """The values of a column: numbers, texts, booleans, None, and lists and objects of these.

    Dates and times are ISO 8601, durations seconds; bytes are text where they are UTF-8, as old
    writers of Parquet leave it, otherwise base64.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return values(array.storage)
    if types.is_dictionary(kind):
        return _of_dictionary(array)
    if types.is_struct(kind):
        return _of_struct(array)
    if types.is_map(kind):
        return _of_map(array)
    if types.is_list(kind) or types.is_large_list(kind):
        return _of_list(array)
    if types.is_fixed_size_list(kind):
        size = kind.list_size
        items = values(array.values.slice(array.offset * size, len(array) * size))
        return _with_nulls(array, [items[i : i + size] for i in range(0, len(items), size or 1)])
    return _of_scalars(array, kind)


def _of_dictionary(array: pa.DictionaryArray) -> list[Any]:
    kind = array.type.value_type
    if types.is_string(kind) or types.is_binary(kind):
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        if (pc.sum(lengths).as_py() or 0) <= SLICE_BYTES:
            return values(array.dictionary_decode())
    # Every row gets the same object: a megabyte said a thousand times stays one megabyte.
    known = values(array.dictionary)
    return [None if i is None else known[i] for i in array.indices.to_pylist()]


def _of_struct(array: pa.StructArray) -> list[Any]:
    """The objects. Their members are null where a table needs a column that a row does not have."""
    names = [array.type.field(number).name for number in range(array.type.num_fields)]
    members = [values(array.field(number)) for number in range(len(names))]
    cells = zip(*members, strict=True) if members else iter([()] * len(array))
    return _with_nulls(array, [dict(zip(names, cell, strict=True)) for cell in cells])


def _of_list(array: pa.ListArray) -> list[Any]:
    offsets = array.offsets.to_pylist()
    start = offsets[0] if offsets else 0
    items = values(array.values.slice(start, (offsets[-1] if offsets else 0) - start))
    bounds = pairwise(offsets)
    return _with_nulls(array, [items[a - start : b - start] for a, b in bounds])


def _of_map(array: pa.MapArray) -> list[Any]:
    offsets = array.offsets.to_pylist()
    start = offsets[0] if offsets else 0
    length = (offsets[-1] if offsets else 0) - start
    keys = [str(key) for key in values(array.keys.slice(start, length))]
    items = values(array.items.slice(start, length))
    return _with_nulls(
        array,
        [
            dict(zip(keys[a - start : b - start], items[a - start : b - start], strict=True))
            for a, b in pairwise(offsets)
        ],
    )


def _with_nulls(array: pa.Array, cells: list[Any]) -> list[Any]:
    if not array.null_count:
        return cells
    return [
        cell if valid else None
        for cell, valid in zip(cells, array.is_valid().to_pylist(), strict=True)
    ]


def _of_scalars(array: pa.Array, kind: pa.DataType) -> list[Any]:
    if types.is_string(kind) or types.is_large_string(kind):
        return _texts(array)
    if types.is_floating(kind):
        return [_number(value) for value in array.cast(pa.float64()).to_pylist()]
    if types.is_decimal(kind):
        return [None if value is None else _decimal(value) for value in array.to_pylist()]
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return [None if value is None else _bytes(value) for value in array.to_pylist()]
    if types.is_timestamp(kind):
        zone = "UTC" if kind.tz else None
        try:
            # Of nanoseconds the last three digits are given up; years must not turn round.
            return _moments(array.cast(pa.timestamp("us", zone), safe=kind.unit != "ns"))
        except pa.ArrowInvalid:
            return [_moment(value) for value in array]
    if types.is_time(kind) or types.is_date(kind):
        small = pa.time64("us") if types.is_time(kind) else kind
        return _moments(array.cast(small, safe=False))
    if types.is_duration(kind):
        small = array.cast(pa.duration("us"), safe=False).cast(pa.int64())
        return [None if value is None else value / 1e6 for value in small.to_pylist()]
    return list(array.to_pylist())


def _texts(array: pa.Array) -> list[Any]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        wide = pa.large_binary() if types.is_large_string(array.type) else pa.binary()
        return [
            None if value is None else _decoded(value) for value in array.cast(wide).to_pylist()
        ]


def _decoded(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        byte = value[error.start]
        return _Wrong(f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1}")


def _number(value: float | None) -> Any:
    # pandas writes NaN where a column of numbers has no value: it is nothing, and no number. In
    # JSON lines it is refused, since there somebody's program has computed it.
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else _Wrong(f"{value} is no number")


def _decimal(value: Any) -> Any:
    return int(value) if value == value.to_integral_value() else float(value)


def _bytes(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
    return text if "\x00" not in text else base64.b64encode(value).decode()


def _moments(array: pa.Array) -> list[Any]:
    try:
        return [None if value is None else value.isoformat() for value in array.to_pylist()]
    except (OverflowError, ValueError):
        return [_moment(value) for value in array]


def _moment(scalar: pa.Scalar) -> Any:
    try:
        value = scalar.as_py()
    except (OverflowError, ValueError):
        return _Wrong("a time beyond the years 1 to 9999")
    return None if value is None else value.isoformat()
