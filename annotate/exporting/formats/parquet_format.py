"""Format `parquet`: the pairs with a winner as chats, those without, and the votes, in columns.

Typed by the format and not by the data, with one exception: messages of role and content alone
are structs, others JSON, because tool calls have no common type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from annotate.exporting import judged_pairs
from annotate.exporting.formats import (
    column_types,
    pair_columns,
    text_styles,
    trl_format,
    votes_format,
)
from annotate.exporting.formats.column_types import Columns
from annotate.exporting.formats.trl_format import Row
from annotate.exporting.raw_rows import batches
from annotate.exporting.zip_stream import Sink
from annotate.models import DatasetVersion
from annotate.votes.export_values import line

PARTS = {
    "parquet": "the pairs with a winner as chats, in typed columns",
    "ties": trl_format.TIES,
    "votes": "one row per vote",
}
COLUMNS = {
    "parquet": column_types.PREFERENCE,
    "ties": column_types.UNDECIDED,
}
"""Of each part but the votes."""
ROWS = 10_000
"""Rows of a row group, which are in memory together."""
BATCH = 500
"""Rows that are turned into columns together: few, so that they are still at hand."""
STRING, JSON = pa.string(), pa.json_()
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
        **trl_format.pair_counts(version, part="parquet", include_simulated=include_simulated),
        **votes_format.counts(version, include_simulated=include_simulated),
    }


def lines(
    version: DatasetVersion, *, part: str = "parquet", include_simulated: bool
) -> Iterator[bytes]:
    """The bytes of one part; none of a part beside the first that has no rows."""
    plain = column_types.roles_and_contents_alone(version)
    return part_file(
        version, part, include_simulated=include_simulated, plain=plain, empty=part == "parquet"
    )


def part_file(
    version: DatasetVersion, part: str, *, include_simulated: bool, plain: bool, empty: bool
) -> Iterator[bytes]:
    """The bytes of one part; without rows none unless `empty`."""
    columns = column_types.of_votes(version) if part == "votes" else COLUMNS[part]
    schema = schema_of(columns, plain=plain)
    tables = part_tables(version, part, schema, include_simulated=include_simulated)
    return written(tables, schema, empty=empty)


def part_tables(
    version: DatasetVersion,
    part: str,
    schema: pa.Schema,
    *,
    include_simulated: bool,
    split: str = "",
) -> Iterator[pa.Table]:
    """A part, or one split of it, as tables of that schema."""
    if part == "votes":
        return vote_tables(version, schema, include_simulated=include_simulated)
    if part == "ties":
        rows = part_rows(version, part, include_simulated=include_simulated)
        tables: Iterator[pa.Table] = (table(batch, schema) for batch in batches(rows, BATCH))
    else:
        tables = winner_tables(version, schema, include_simulated=include_simulated)
    if not split:
        return tables
    of_split = (one.filter(pc.field("split") == split) for one in tables)
    return (one for one in of_split if one.num_rows)


def winner_tables(
    version: DatasetVersion, schema: pa.Schema, *, include_simulated: bool
) -> Iterator[pa.Table]:
    """The pairs with a winner as tables: the rows of `winners`, made in columns."""
    for batch in batches(judged_pairs.decided_pairs(version, include_simulated), BATCH):
        columns = pair_columns.winners(batch)
        arrays = {
            end: _replies(columns[end], columns[f"{end}_messages"], schema.field(end).type)
            for end in ("chosen", "rejected")
        }
        yield _of_columns(columns, schema, arrays)


def vote_tables(
    version: DatasetVersion, schema: pa.Schema, *, include_simulated: bool
) -> Iterator[pa.Table]:
    """The rows of `votes` as tables: what votes on one pair share is made once and repeated."""
    for own, pairs, place in votes_format.columns(version, include_simulated=include_simulated):
        shared_schema = pa.schema([field for field in schema if field.name not in own])
        shared = _of_columns(pair_columns.shared_by_votes(pairs), shared_schema, {})
        repeated = shared.take(pa.array(place, pa.int32()))
        arrays = dict(zip(repeated.column_names, repeated.columns, strict=True))
        yield _of_columns(own, schema, arrays)


def _of_columns(
    columns: Mapping[str, Sequence[Any]], schema: pa.Schema, made: Mapping[str, pa.Array]
) -> pa.Table:
    """Columns, some of which are `made` already, as a table of that schema."""
    arrays = [
        made[field.name] if field.name in made else _array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _replies(texts: Sequence[str], turns: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Replies as chats; most are one turn of the assistant."""
    if kind.value_type != MESSAGE or any(turns):
        written = map(text_styles.CHAT.reply, texts, turns)
        return _array(list(written), kind)
    roles, offsets = _single_turns(len(texts))
    messages = pa.StructArray.from_arrays([roles, pa.array(texts, STRING)], fields=[*MESSAGE])
    return pa.ListArray.from_arrays(offsets, messages, type=kind)


@lru_cache
def _single_turns(length: int) -> tuple[pa.Array, pa.Array]:
    """Roles and offsets of that many chats of one turn of the assistant."""
    return pa.repeat("assistant", length), pa.array(range(length + 1), pa.int32())


def part_rows(version: DatasetVersion, part: str, *, include_simulated: bool) -> Iterator[Row]:
    """Rows of a part."""
    if part == "votes":
        return votes_format.rows(version, include_simulated=include_simulated)
    if part == "ties":
        told = {"include_simulated": include_simulated}
        return trl_format.ties(version, text_styles.CHAT, **told)
    return winners(version, include_simulated=include_simulated)


def winners(version: DatasetVersion, *, include_simulated: bool) -> Iterator[Row]:
    """The rows of the first part."""
    told = {"include_simulated": include_simulated, "margins": True}
    return trl_format.winners(version, text_styles.CHAT, **told)


def schema_of(columns: Columns, *, plain: bool) -> pa.Schema:
    """The types of the columns; `plain` messages have a role and a content."""
    chat = pa.list_(MESSAGE if plain else pa.json_())
    types = TYPES | {column_types.CHAT: chat}
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def file_of(rows: Iterable[Row], schema: pa.Schema, *, empty: bool = True) -> Iterator[bytes]:
    """A Parquet file of the rows, group by group; without rows none unless `empty`."""
    return written((table(batch, schema) for batch in batches(rows, BATCH)), schema, empty=empty)


def written(tables: Iterable[pa.Table], schema: pa.Schema, *, empty: bool) -> Iterator[bytes]:
    """A Parquet file of the tables, in groups of some ROWS; without tables none unless `empty`."""
    sink = Sink()
    writer = None
    for group in _groups(tables):
        writer = writer or parquet.ParquetWriter(sink, schema, compression="zstd")
        writer.write_table(group)
        yield sink.taken()
    if writer is None and empty:
        writer = parquet.ParquetWriter(sink, schema, compression="zstd")
    if writer is not None:
        writer.close()
        yield sink.taken()


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting, rows = list[pa.Table](), 0
    for one in tables:
        waiting.append(one)
        rows += one.num_rows
        if rows >= ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table of that schema."""
    columns = {name: list(map(itemgetter(name), rows)) for name in schema.names}
    return _of_columns(columns, schema, {})


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if values and values[0] is None and values.count(None) == len(values):
        return _nulls(len(values), kind)
    if kind == JSON:
        return _json(values)
    if not pa.types.is_list(kind) or kind.value_type == STRING:
        return pa.array(values, kind)
    lists = [() if value is None else value for value in values]
    mask = pa.array([value is None for value in values])
    offsets = pa.array([0, *accumulate(map(len, lists))], pa.int32())
    flat = list(chain.from_iterable(lists))
    inner = _json(flat) if kind.value_type == JSON else _messages(flat)
    return pa.ListArray.from_arrays(offsets, inner, type=kind, mask=mask)


@lru_cache
def _nulls(length: int, kind: pa.DataType) -> pa.Array:
    """A column that says nothing, as most columns of metadata do."""
    return pa.nulls(length, kind)


def _json(values: Sequence[Any]) -> pa.Array:
    texts = [None if value is None else line(value)[:-1].decode() for value in values]
    return pa.ExtensionArray.from_storage(JSON, pa.array(texts, pa.string()))


def _messages(flat: list[dict[str, str]]) -> pa.Array:
    roles = pa.array([message["role"] for message in flat], pa.string())
    contents = pa.array([message["content"] for message in flat], pa.string())
    return pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGE))
