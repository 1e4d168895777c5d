"""Format `parquet`: the pairs with a winner as chats, those without, and the votes, in columns.

Typed by the format and not by the data, with one exception: messages of role and content alone
are structs, others JSON, because tool calls have no common type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from annotate.exporting.formats import column_types, preference_rows, text_styles, votes_format
from annotate.exporting.formats.column_types import Columns
from annotate.exporting.formats.preference_rows import Row
from annotate.exporting.raw_rows import batches
from annotate.exporting.zip_stream import Sink
from annotate.models import DatasetVersion
from annotate.votes.export_values import line

PARTS = {
    "parquet": "the pairs with a winner as chats, in typed columns",
    "ties": preference_rows.TIES,
    "votes": "one row per vote",
}
ROWS = 10_000
"""Rows of a row group, which are in memory together."""
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
TYPES = {
    column_types.TEXT: pa.string(),
    column_types.NULLABLE: pa.string(),
    column_types.FLOAT: pa.float64(),
    column_types.INT: pa.int64(),
    column_types.BOOL: pa.bool_(),
    column_types.WORDS: pa.list_(pa.string()),
    column_types.JSON: pa.json_(),
    column_types.TOOLS: pa.list_(pa.json_()),
}


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, the pairs without a winner by kind, and votes."""
    return {
        **preference_rows.counts(version, part="parquet", include_simulated=include_simulated),
        **votes_format.counts(version, include_simulated=include_simulated),
    }


def lines(
    version: DatasetVersion, *, part: str = "parquet", include_simulated: bool
) -> Iterator[bytes]:
    """The bytes of one part; none of a part beside the first that has no rows."""
    rows, columns = part_rows(version, part, include_simulated=include_simulated)
    schema = schema_of(columns, plain=column_types.roles_and_contents_alone(version))
    return file_of(rows, schema, empty=part == "parquet")


def part_rows(
    version: DatasetVersion, part: str, *, include_simulated: bool
) -> tuple[Iterator[Row], Columns]:
    """Rows of a part and what their columns hold."""
    if part == "votes":
        rows = votes_format.rows(version, include_simulated=include_simulated)
        return rows, column_types.VOTE
    if part == "ties":
        rows = preference_rows.ties(version, text_styles.CHAT, include_simulated=include_simulated)
        return rows, column_types.UNDECIDED
    return winners(version, include_simulated=include_simulated), column_types.PREFERENCE


def winners(version: DatasetVersion, *, include_simulated: bool) -> Iterator[Row]:
    """The rows of the first part."""
    told = {"include_simulated": include_simulated, "margins": True}
    return preference_rows.winners(version, text_styles.CHAT, **told)


def schema_of(columns: Columns, *, plain: bool) -> pa.Schema:
    """The types of the columns; `plain` messages have a role and a content."""
    chat = pa.list_(MESSAGE if plain else pa.json_())
    types = TYPES | {column_types.CHAT: chat}
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def file_of(rows: Iterable[Row], schema: pa.Schema, *, empty: bool = True) -> Iterator[bytes]:
    """A Parquet file of the rows, group by group; without rows none unless `empty`."""
    sink = Sink()
    writer = None
    for batch in batches(rows, ROWS):
        writer = writer or parquet.ParquetWriter(sink, schema, compression="zstd")
        writer.write_table(table(batch, schema))
        yield sink.taken()
    if writer is None and empty:
        writer = parquet.ParquetWriter(sink, schema, compression="zstd")
    if writer is not None:
        writer.close()
        yield sink.taken()


def table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table of that schema; a column that a row does not have is null."""
    arrays = [_array([row.get(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == pa.json_():
        return _json(values)
    if not pa.types.is_list(kind) or kind.value_type == pa.string():
        return pa.array(values, kind)
    lists = [() if value is None else value for value in values]
    mask = pa.array([value is None for value in values])
    offsets = pa.array([0, *accumulate(map(len, lists))], pa.int32())
    flat = list(chain.from_iterable(lists))
    inner = _json(flat) if kind.value_type == pa.json_() else _messages(flat)
    return pa.ListArray.from_arrays(offsets, inner, type=kind, mask=mask)


def _json(values: list[Any]) -> pa.Array:
    texts = [None if value is None else line(value)[:-1].decode() for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.string()))


def _messages(flat: list[dict[str, str]]) -> pa.Array:
    roles = pa.array([message["role"] for message in flat], pa.string())
    contents = pa.array([message["content"] for message in flat], pa.string())
    return pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGE))
