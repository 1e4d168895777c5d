"""JSON that names its columns once: as pandas writes a table with orient="split" or "columns".

Names beside rows that are lists of values, a list per column, an object per column.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from itertools import repeat
from typing import Any, NamedTuple, cast

from annotate.importing.files.bounded_streams import Part
from annotate.importing.files.json_cursor import (
    Cursor,
    at_end,
    cursor_of,
    each,
    elements,
    members,
    row_of,
    values_at,
)
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.limits import MAX_COLUMNS, MAX_ROW
from annotate.importing.problems import Refused, Unreadable

MAX_CURSORS = 100
"""Columns that are read side by side, each with its own piece of the file."""
FIELD = re.compile(
    r"prompt|question|instruction|query|messages|conversation|chosen|rejected|completion|response|"
    r"answer|output|reply|winner|preference|label|vote|model",
    re.IGNORECASE,
)
"""Words in the names of columns, which tell them from rows that have names."""
VALUE = frozenset(("role", "content", "from", "value", "text", "type", "id", "name", "parts"))
"""Names within an object that is one value: a message, or a part of one."""
NO_NAMES = (
    "The rows are lists of values without the names of their columns. Save them as objects: "
    'pandas does so with orient="records".'
)
KEYS = 20
Rows = Iterator[tuple[Place, dict[str, Any] | Refused]]


class NoTable(Unreadable):
    """The text is whole, but does not name its columns as it has to."""


class JsonTable(Reader):
    """Names of columns, and rows that are lists of values: `columns` beside `data`, as in pandas'
    orient="split" and in tables of wandb, or an array of lists of which the first has the names."""

    title, unit = "JSON table", "row"

    def __init__(
        self, part: Part, head: Head, columns: list[Any], index: int | None = None
    ) -> None:
        super().__init__(part, head)
        names = [str(name) for name in columns]
        if len(names) > MAX_COLUMNS:
            raise NoTable(
                f"The table names {len(names):,} columns; at most {MAX_COLUMNS:,} are read."
            )
        twice = next((one for one in names if names.count(one) > 1), None)
        if twice is not None:
            raise NoTable(f"The table names two columns {twice[:40]!r}.")
        self.columns, self._index = names, index
        """Start of the list of the rows' own names, if they have any."""

    def rows(self) -> Rows:
        cursor = cursor_of(self.part)
        if cursor.peek() == b"[":
            lists = elements(cursor)
            next(lists)
            yield from self._named(lists)
        else:
            for name in members(cursor):
                if name == "data":
                    yield from self._named(elements(cursor))
                else:
                    cursor.value(0)
        at_end(cursor)

    def _named(self, lists: Iterator[bytes | None]) -> Rows:
        names = [json.dumps(name).encode() for name in self.columns or []]
        own: Iterator[bytes | None] = iter(())
        if self._index is not None:
            own = values_at(self.part, self._index)
        for number, raw in enumerate(lists, 1):
            name = next(own, None)
            row = _with_names(raw, names)
            if name is not None and isinstance(row, dict):
                row.setdefault("key", _text(name))
            yield Place("", number), row


def _with_names(raw: bytes | None, names: list[bytes]) -> dict[str, Any] | Refused:
    if raw is None:
        return row_of(None)
    cursor = Cursor(io.BufferedReader(cast(io.RawIOBase, io.BytesIO(raw))))
    if cursor.peek() != b"[":
        return Refused("", "a list of values is expected, as the other rows are")
    values = [cursor.value() or b"null" for _ in each(cursor)]
    if len(values) != len(names):
        return Refused("", f"values: {len(values):,}; the table names {len(names):,} columns")
    texts = [name + b":" + value for name, value in zip(names, values, strict=True)]
    return row_of(b"{" + b",".join(texts) + b"}")


class _Column(NamedTuple):
    name: str
    offset: int
    """Of its bracket."""
    values: int


class JsonColumns(Reader):
    """An object with a list per column, or an object per column, as pandas writes them.

    Of an object per column the keys are the rows' own names; they are kept as `key` unless they
    only count.
    """

    title, unit = "JSON object with a list per column", "row"

    def __init__(self, part: Part, head: Head, columns: list[_Column], *, keyed: bool) -> None:
        super().__init__(part, head)
        self._columns, self._given, self._keyed = columns, 0, keyed
        self.columns = [column.name for column in columns]

    def rows(self) -> Rows:
        names = [json.dumps(column.name).encode() + b":" for column in self._columns]
        values = [values_at(self.part, column.offset) for column in self._columns]
        own: Iterator[bytes | None] = repeat(None)
        if self._keyed:
            own = values_at(self.part, self._columns[0].offset, keys=True)
        for number, raws in enumerate(zip(*values, strict=True), 1):
            self._given = number
            missing = [c.name for c, raw in zip(self._columns, raws, strict=True) if raw is None]
            if missing:
                row: dict[str, Any] | Refused
                row = Refused(missing[0], f"longer than {MAX_ROW:,} bytes")
            else:
                texts = [a + cast(bytes, b) for a, b in zip(names, raws, strict=True)]
                row = row_of(b"{" + b",".join(texts) + b"}")
            name = next(own)
            if name is not None and isinstance(row, dict):
                row.setdefault("key", _text(name))
            yield Place("", number), row

    def share(self) -> float:
        return self._given / max(1, self._columns[0].values)


def table_of_array(part: Part, head: Head) -> JsonTable | None:
    """The reader of an array of lists, of which the first names the columns; None of an array of
    other things. Raises Unreadable where nothing names them."""
    cursor = cursor_of(part)
    cursor.take(b"[")
    if cursor.peek() != b"[":
        return None
    first = _list(cursor.value())
    if not first or any(isinstance(one, dict | list) for one in first):
        return None
    if all(isinstance(one, str) and len(one) < 80 for one in first) and is_named(first):
        return JsonTable(part, head, first)
    raise NoTable(NO_NAMES)


def table_of_object(part: Part, head: Head) -> JsonTable | None:
    """The reader of an object of `columns` and `data`, which is a list of lists; else None."""
    cursor = cursor_of(part)
    columns: list[Any] = []
    index, is_table = None, False
    for n, name in enumerate(members(cursor)):
        if n > MAX_COLUMNS:
            return None  # More than tables have parts, and than a row may have columns.
        opening, offset = cursor.peek(), cursor.offset
        if name == "data" and opening == b"[":
            for _ in each(cursor):
                if cursor.peek() != b"[":
                    return None
                is_table = True
                cursor.value(0)
            continue
        raw = cursor.value()
        if name == "columns":
            columns = _list(raw)
            if not columns or any(isinstance(one, dict | list) for one in columns):
                return None
        elif name == "index" and opening == b"[" and not _only_counts(part, offset):
            index = offset
    return JsonTable(part, head, columns, index) if columns and is_table else None


def columns_of_object(part: Part, head: Head) -> JsonColumns | None:
    """The reader of an object with a list per column, or an object per column; else None."""
    cursor = cursor_of(part)
    columns: list[_Column] = []
    inside: list[list[bytes]] = []
    for name in members(cursor):
        opening, offset = cursor.peek(), cursor.offset
        if opening not in (b"[", b"{"):
            return None
        values = 0
        keys: list[bytes] = []
        for key in each(cursor):
            values += 1
            if opening == b"[" and cursor.peek() == b"{":
                return None  # A list of objects is a chat more often than a column.
            if opening == b"{" and len(keys) < KEYS:
                keys.append(key)
            cursor.value(0)
        columns.append(_Column(name, offset, values))
        inside.append(keys)
    same_length = len({column.values for column in columns}) == 1
    if cursor.peek() or len(columns) < 2 or not same_length or not columns[0].values:
        return None
    own = [_text(key) for key in inside[0]]
    named = any(not name.isdigit() for name in own)
    names = [column.name for column in columns]
    if any(keys != inside[0] for keys in inside):
        return None
    if named and (not is_named(names) or is_named(own) or VALUE & {*own}):
        return None  # Objects that are values, or rows, and no columns.
    if len(columns) > MAX_CURSORS:
        raise NoTable(
            f"The JSON object holds {len(columns):,} columns; at most {MAX_CURSORS} are read. "
            "Save it as JSON lines."
        )
    return JsonColumns(part, head, columns, keyed=named)


def is_named(names: Any) -> bool:
    """True where one of the names is such as columns have."""
    return any(FIELD.search(one[:80]) for one in names)


def _only_counts(part: Part, offset: int) -> bool:
    """True of a list of 0, 1, 2 and so on: the rows have no names."""
    values = values_at(part, offset)
    return all(raw == str(number).encode() for number, raw in enumerate(values))


def _list(raw: bytes | None) -> list[Any]:
    try:
        given = json.loads(raw or b"[]")
    except (ValueError, RecursionError):
        return []
    return given if isinstance(given, list) else []


def _text(raw: bytes) -> str:
    try:
        return str(json.loads(raw))
    except ValueError:
        return raw.decode(errors="replace")
