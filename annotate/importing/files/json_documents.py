"""JSON that is one document: an array of rows, an object with lists of rows or of columns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from annotate.importing.files.bounded_streams import Part, Window
from annotate.importing.files.json_cursor import Cursor
from annotate.importing.files.json_lines import BOM, JsonLines
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.files.strict_json import decoded
from annotate.importing.limits import CHUNK, HEAD, MAX_ROW
from annotate.importing.problems import Refused, Unreadable

ROW_LISTS = frozenset(
    ("data", "rows", "examples", "instances", "items", "records", "results", "dataset", "samples")
)
SPLITS = frozenset(
    ("train", "training", "test", "testing", "dev", "eval", "val", "valid", "validation")
)
MAX_CURSORS = 100
"""Columns that are read side by side, each with its own piece of the file."""
ALIKE = 3
"""Rows of like columns that an object of rows has to begin with."""
Rows = Iterator[tuple[Place, dict[str, Any] | Refused]]


def json_reader(part: Part, head: Head) -> Reader:
    """The reader of a text that begins with a brace or a bracket."""
    text = head.data.removeprefix(BOM).lstrip()
    if text.startswith(b"["):
        return JsonArray(part, head)
    if b"\n" not in text and len(head.data) >= HEAD:
        text = part.start(MAX_ROW + CHUNK).removeprefix(BOM).lstrip()
    first, _, rest = text.partition(b"\n")
    first, second = first.rstrip(), rest.lstrip().partition(b"\n")[0].rstrip()
    if second and (first.endswith(b"}") or (_is_row(second) and first[-1:] not in b"[{,:")):
        return JsonLines(part, head)
    try:
        reader = _of_object(part, head)
    except Unreadable:
        if rest:
            raise
        return JsonLines(part, head)  # Of which the first is broken or too long.
    if isinstance(reader, JsonObjects) and not second and first.endswith(b"}"):
        return JsonLines(part, head)
    return reader


def _is_row(line: bytes) -> bool:
    return isinstance(decoded(line), dict)


class JsonArray(Reader):
    title, unit = "JSON array", "row"

    def rows(self) -> Rows:
        cursor = _cursor(self.part)
        for number, raw in enumerate(_elements(cursor), 1):
            yield Place("", number), _row(raw)
        _end(cursor)


class JsonLists(Reader):
    """An object with one list of rows ("data"), or with one for each split ("train", "test")."""

    title, unit = "JSON object with a list of rows", "row"

    def rows(self) -> Rows:
        cursor = _cursor(self.part)
        for name in _members(cursor):
            if name not in ROW_LISTS | SPLITS or cursor.peek() != b"[":
                cursor.value(0)
                continue
            for number, raw in enumerate(_elements(cursor), 1):
                yield Place(name if name in SPLITS else "", number), _unwrapped(_row(raw))
        _end(cursor)


class JsonByKey(Reader):
    """An object of rows under names of their own, as pandas writes them by index. The name is kept
    as the row's `key`."""

    title, unit = "JSON object of rows", "row"

    def rows(self) -> Rows:
        cursor = _cursor(self.part)
        for number, name in enumerate(_members(cursor), 1):
            cursor.where = f"Row {number:,}"
            row = _row(cursor.value())
            if isinstance(row, dict):
                row.setdefault("key", name)
            yield Place("", number), row
            cursor.where = f"After row {number:,}"
        _end(cursor)


class JsonObjects(Reader):
    """Objects one after the other, each over several lines; also a single one."""

    title, unit = "JSON objects", "row"

    def rows(self) -> Rows:
        cursor, number = _cursor(self.part), 0
        while cursor.peek():
            number += 1
            cursor.where = f"Row {number:,}"
            yield Place("", number), _row(cursor.value())


class _Column(NamedTuple):
    name: str
    offset: int
    """Of its bracket."""
    values: int


class JsonColumns(Reader):
    """An object with a list per column, or an object per column, as pandas writes them."""

    title, unit = "JSON object with a list per column", "row"

    def __init__(self, part: Part, head: Head, columns: list[_Column]) -> None:
        super().__init__(part, head)
        self._columns, self._given = columns, 0
        self.columns = [column.name for column in columns]

    def rows(self) -> Rows:
        names = [json.dumps(column.name).encode() + b":" for column in self._columns]
        values = [self._values(column) for column in self._columns]
        for number, raws in enumerate(zip(*values, strict=True), 1):
            self._given = number
            missing = [c.name for c, raw in zip(self._columns, raws, strict=True) if raw is None]
            if missing:
                yield Place("", number), Refused(missing[0], f"longer than {MAX_ROW:,} bytes")
            else:
                texts = [a + cast(bytes, b) for a, b in zip(names, raws, strict=True)]
                yield Place("", number), _row(b"{" + b",".join(texts) + b"}")

    def _values(self, column: _Column) -> Iterator[bytes | None]:
        piece = Window(self.part.seekable, column.offset)
        cursor = Cursor(io.BufferedReader(piece, CHUNK))
        for _ in _each(cursor):
            yield cursor.value()

    def share(self) -> float:
        return self._given / max(1, self._columns[0].values)


def _of_object(part: Part, head: Head) -> Reader:
    """The reader of a text that begins with an object of several lines, or of a single one."""
    if _is_by_key(part):
        return JsonByKey(part, head)
    cursor = _cursor(part)
    columns: list[_Column] = []
    other = False
    for name in _members(cursor):
        opening, offset = cursor.peek(), cursor.offset
        if opening not in (b"[", b"{"):
            other = True
            cursor.value(0)
            continue
        values = 0
        for key in _each(cursor):
            values += 1
            if opening == b"[" and cursor.peek() == b"{":
                if name in ROW_LISTS | SPLITS:
                    return JsonLists(part, head)
                other = True  # A list of objects is a chat more often than a column.
            other = other or (opening == b"{" and not key.strip(b'"').isdigit())
            cursor.value(0)
        columns.append(_Column(name, offset, values))
    same_length = len({column.values for column in columns}) == 1
    if cursor.peek() or other or len(columns) < 2 or not same_length or not columns[0].values:
        return JsonObjects(part, head)
    if len(columns) > MAX_CURSORS:
        raise Unreadable(
            f"The JSON object holds {len(columns):,} columns; at most {MAX_CURSORS} are read. "
            "Save it as JSON lines."
        )
    return JsonColumns(part, head, columns)


def _is_by_key(part: Part) -> bool:
    """True of an object whose first members are objects of some columns in common, which have
    names: within a column they would be numbers."""
    cursor, rows = _cursor(part), list[Any]()
    for _ in _members(cursor):
        raw = cursor.value() if cursor.peek() == b"{" else None
        rows.append(None if raw is None else decoded(raw))
        if not isinstance(rows[-1], dict) or len(rows) == ALIKE:
            break
    names = [set(row) if isinstance(row, dict) else set[str]() for row in rows]
    common = set.intersection(*names) if len(rows) == ALIKE else set()
    return len(common) > 1 and not all(name.isdigit() for name in common)


def _each(cursor: Cursor) -> Iterator[bytes]:
    """Step through an array or an object: the cursor stands before each value, which has to be
    taken before the next step. Gives the key of each, b"" in arrays."""
    opening = cursor.take(b"[{")
    closing = b"]" if opening == b"[" else b"}"
    if cursor.peek() == closing:
        cursor.take(closing)
        return
    while True:
        key = b""
        if opening == b"{":
            if cursor.peek() != b'"':
                cursor.take(b'"')
            key = cursor.value() or b""
            cursor.take(b":")
        yield key
        if cursor.take(b"," + closing) == closing:
            return


def _members(cursor: Cursor) -> Iterator[str]:
    """The names of an object's members, as `_each`."""
    for key in _each(cursor):
        try:
            yield str(json.loads(key))
        except ValueError:
            yield ""


def _elements(cursor: Cursor) -> Iterator[bytes | None]:
    """The texts of an array's elements."""
    for number, _ in enumerate(_each(cursor), 1):
        cursor.where = f"Row {number:,}"
        yield cursor.value()
        cursor.where = f"After row {number:,}"


def _end(cursor: Cursor) -> None:
    if cursor.peek():
        raise Unreadable(
            f"The JSON document ends at byte {cursor.offset:,}, and more follows. "
            "Is it several documents in one file?"
        )


def _cursor(part: Part) -> Cursor:
    stream = part.stream()
    if stream.peek(3)[:3] == BOM:
        stream.read(3)
    return Cursor(stream)


def _unwrapped(row: dict[str, Any] | Refused) -> dict[str, Any] | Refused:
    """A row of the Hugging Face viewer's API, which stands beside its number."""
    if not isinstance(row, dict) or "row_idx" not in row:
        return row
    inside = row.get("row")
    return {**inside, "row_idx": row["row_idx"]} if isinstance(inside, dict) else row


def _row(raw: bytes | None) -> dict[str, Any] | Refused:
    if raw is None or len(raw) > MAX_ROW:
        return Refused("", f"the row is longer than {MAX_ROW:,} bytes")
    return decoded(raw)
