"""JSON that is one document: an array of rows, an object with lists of rows, with rows by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from annotate.importing.files.bounded_streams import Part
from annotate.importing.files.json_cursor import (
    BOM,
    Cursor,
    at_end,
    cursor_of,
    each,
    elements,
    members,
    row_of,
)
from annotate.importing.files.json_lines import JsonLines, unwrapped
from annotate.importing.files.json_tables import (
    NoTable,
    columns_of_object,
    is_named,
    table_of_array,
    table_of_object,
)
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.files.strict_json import decoded
from annotate.importing.limits import CHUNK, HEAD, MAX_COLUMNS, MAX_ROW
from annotate.importing.problems import Refused, Unreadable

CERTAIN = frozenset(
    ("data", "rows", "examples", "instances", "items", "records", "results", "dataset", "samples")
)
"""Lists of rows, whatever stands beside them."""
ROW_LISTS = CERTAIN | frozenset(
    (
        *("pairs", "comparisons", "preferences", "prompts", "entries", "tasks", "documents"),
        *("questions", "hits"),
    )
)
SPLITS = frozenset(
    ("train", "training", "test", "testing", "dev", "eval", "val", "valid", "validation")
)
AROUND = frozenset(("data", "result", "results", "response", "payload", "output", "hits", "body"))
"""Objects that web services put around a list of rows."""
OF_A_ROW = re.compile(
    r"prompt|question|instruction|query|messages|conversations?|chosen|rejected|input|annotations|"
    r"predictions|responses|completions|fields|id",
    re.IGNORECASE,
)
"""Members beside which a list is a column of one row."""
ALIKE = 3
"""Rows of like columns that an object of rows begins with, where it has so many."""
DEEP = 3
"""Objects around a list of rows, at most."""
Rows = Iterator[tuple[Place, dict[str, Any] | Refused]]


def json_reader(part: Part, head: Head) -> Reader:
    """The reader of a text that begins with a brace or a bracket."""
    text = head.data.removeprefix(BOM).lstrip()
    if text.startswith(b"["):
        return table_of_array(part, head) or JsonArray(part, head)
    if b"\n" not in text and len(head.data) >= HEAD:
        text = part.start(MAX_ROW + CHUNK).removeprefix(BOM).lstrip()
    first, _, rest = text.partition(b"\n")
    first, second = first.rstrip(), rest.lstrip().partition(b"\n")[0].rstrip()
    if second and (first.endswith(b"}") or (_is_row(second) and first[-1:] not in b"[{,:")):
        return JsonLines(part, head)
    try:
        reader = _of_object(part, head)
    except NoTable:
        raise
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
        cursor = cursor_of(self.part)
        for number, raw in enumerate(elements(cursor), 1):
            yield Place("", number), row_of(raw)
        at_end(cursor)


class JsonLists(Reader):
    """An object with one list of rows ("data"), or with one for each split ("train", "test").

    The list may stand some objects deeper, as in the answers of web services.
    """

    title, unit = "JSON object with a list of rows", "row"

    def rows(self) -> Rows:
        cursor = cursor_of(self.part)
        yield from self._within(cursor)
        at_end(cursor)

    def _within(self, cursor: Cursor, depth: int = 0) -> Rows:
        for name in members(cursor):
            opening = cursor.peek()
            if name in ROW_LISTS | SPLITS and opening == b"[":
                for number, raw in enumerate(elements(cursor), 1):
                    yield Place(name if name in SPLITS else "", number), unwrapped(row_of(raw))
            elif name in AROUND and opening == b"{" and depth < DEEP:
                yield from self._within(cursor, depth + 1)
            else:
                cursor.value(0)


class JsonByKey(Reader):
    """An object of rows under names of their own, as pandas writes them by index. The name is kept
    as the row's `key`."""

    title, unit = "JSON object of rows", "row"

    def rows(self) -> Rows:
        cursor = cursor_of(self.part)
        for number, name in enumerate(members(cursor), 1):
            cursor.where = f"Row {number:,}"
            row = row_of(cursor.value())
            if isinstance(row, dict):
                row.setdefault("key", name)
            yield Place("", number), row
            cursor.where = f"After row {number:,}"
        at_end(cursor)


class JsonObjects(Reader):
    """Objects one after the other, each over several lines; also a single one."""

    title, unit = "JSON objects", "row"

    def rows(self) -> Rows:
        cursor, number = cursor_of(self.part), 0
        while cursor.peek():
            number += 1
            cursor.where = f"Row {number:,}"
            yield Place("", number), row_of(cursor.value())


def _of_object(part: Part, head: Head) -> Reader:
    """The reader of a text that begins with an object of several lines, or of a single one."""
    if _is_by_key(part):
        return JsonByKey(part, head)
    table = table_of_object(part, head)
    if table is None and _holds_rows(cursor_of(part)):
        return JsonLists(part, head)
    return table or columns_of_object(part, head) or JsonObjects(part, head)


def _holds_rows(cursor: Cursor, depth: int = 0) -> bool:
    """True of an object in which a list of rows stands, perhaps some objects deeper."""
    seen: list[str] = []
    lists = False
    for name in members(cursor):
        opening = cursor.peek()
        seen.append(name)
        if depth == 0 and len(seen) > MAX_COLUMNS:
            break  # One row of too many columns, which is refused where it is read.
        if name in ROW_LISTS | SPLITS and opening == b"[":
            for _ in each(cursor):
                if cursor.peek() == b"{":
                    lists = True
                    if depth == 0 and name in CERTAIN | SPLITS:
                        return True
                cursor.value(0)
        elif name in AROUND and opening == b"{" and depth < DEEP:
            lists = _holds_rows(cursor, depth + 1) or lists
        else:
            cursor.value(0)
    return lists and not any(OF_A_ROW.fullmatch(name) for name in seen)


def _is_by_key(part: Part) -> bool:
    """True of an object whose first members are objects of some columns in common: rows with names.
    Within a column the names would be those of rows."""
    cursor, rows = cursor_of(part), dict[str, Any]()
    for name in members(cursor):
        raw = cursor.value() if cursor.peek() == b"{" else None
        row = None if raw is None else decoded(raw)
        if not isinstance(row, dict):
            return False
        rows[name] = row
        if len(rows) == ALIKE:
            break
    common = set.intersection(*map(set, rows.values())) if rows else set[str]()
    if len(common) < 2 or all(name.isdigit() for name in common):
        return False
    if len(rows) == ALIKE and not is_named(rows):
        return True
    return is_named(common) and not is_named(rows)
