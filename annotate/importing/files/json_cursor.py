"""A cursor over a JSON text of any length: value by value, with the memory of one value."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from annotate.importing.files.bounded_streams import Part, Window
from annotate.importing.files.strict_json import decoded
from annotate.importing.limits import CHUNK, MAX_ROW, MAX_SKIPPED
from annotate.importing.problems import Refused, Unreadable

BOM = b"\xef\xbb\xbf"

SPACE = re.compile(rb"[ \t\r\n]*+")
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
BARE = re.compile(rb'[^ \t\r\n,:\[\]{}"]*+')
PASSED = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""All up to the next bracket, strings with the brackets in them included."""
MAX_BRACKETS, MAX_OPEN = 2_000_000, 100_000
"""Brackets of a value, and those that are open together: about a second, and a tenth of one."""


class Cursor:
    """A position in a stream of UTF-8 bytes. `where` begins the message of what is wrong there."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self._buffer, self._at, self._before = stream, b"", 0, 0
        self.where = ""

    @property
    def offset(self) -> int:
        """Bytes from the start of the stream."""
        return self._before + self._at

    def peek(self) -> bytes:
        """The first byte of what comes next, after white space; b"" at the end."""
        while True:
            self._at = SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]  # It matches nothing too.
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._more():
                return b""

    def take(self, expected: bytes) -> bytes:
        """Step over one byte, one of `expected`."""
        byte = self.peek()
        if not byte or byte not in expected:
            wanted = " or ".join(chr(each) for each in expected)
            self._fail(f"{wanted} is expected, not {byte.decode(errors='replace')!r}")
        self._at += 1
        return byte

    def value(self, most: int = MAX_ROW) -> bytes | None:
        """The text of the next value; None of one longer than `most`, which is stepped over."""
        first = self.peek()
        if first in (b"{", b"["):
            return self._brackets(most)
        pattern = STRING if first == b'"' else BARE
        while True:
            match = pattern.match(self._buffer, self._at)
            # A number may go on in the next piece, a string ends with its quote.
            if match and (first == b'"' or match.end() < len(self._buffer)):
                break
            if len(self._buffer) - self._at > MAX_ROW:
                self._fail(f"a text is longer than {MAX_ROW:,} bytes")
            if not self._more():
                if match:
                    break
                self._cut()
        text = match.group()
        if not text:
            self._fail(f"a value is expected, not {first.decode(errors='replace')!r}")
        self._at = match.end()
        return text if len(text) <= most else None

    def _brackets(self, most: int) -> bytes | None:
        depth, scan, length, brackets = 0, self._at, 0, 0
        while True:
            scan = PASSED.match(self._buffer, scan).end()  # type: ignore[union-attr]  # It matches nothing too.
            if scan < len(self._buffer) and (byte := self._buffer[scan]) != 34:
                scan += 1
                brackets += 1
                depth += 1 if byte in b"{[" else -1
                if not depth:
                    break
                if depth > MAX_OPEN or brackets > MAX_BRACKETS:
                    self._fail(f"it holds {brackets:,} brackets and more. This is no row")
                continue
            # At the end of the piece, or at a quote whose string goes on behind it.
            if length + scan - self._at > most:
                length += scan - self._at
                self._at = scan
                if length > MAX_SKIPPED:
                    self._fail(f"it goes on for {length:,} bytes. This is no row")
            if len(self._buffer) - scan > MAX_SKIPPED // 10:
                self._fail(f"a text is longer than {MAX_SKIPPED // 10:,} bytes")
            scan -= self._at
            if not self._more():
                self._cut()
            scan += self._at
        length += scan - self._at
        text = self._buffer[self._at : scan]
        self._at = scan
        return text if length <= most and length == len(text) else None

    def _more(self) -> bool:
        """Read on; what lies before the cursor is forgotten. Twice as much each time, so that a
        long value is looked through a few times and not once per piece."""
        rest = self._buffer[self._at :]
        piece = self._stream.read(max(CHUNK, len(rest)))
        self._before += self._at
        self._buffer, self._at = rest + piece, 0
        return bool(piece)

    def _cut(self) -> None:
        raise Unreadable(f"{self.where or 'The text'} goes on where the file ends: it was cut off.")

    def _fail(self, reason: str) -> None:
        raise Unreadable(f"{self.where or 'The text'}, byte {self.offset:,}: {reason}.")


def each(cursor: Cursor) -> Iterator[bytes]:
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


def members(cursor: Cursor) -> Iterator[str]:
    """The names of an object's members, as `each`."""
    for key in each(cursor):
        try:
            yield str(json.loads(key))
        except ValueError:
            yield ""


def elements(cursor: Cursor) -> Iterator[bytes | None]:
    """The texts of an array's elements."""
    for number, _ in enumerate(each(cursor), 1):
        cursor.where = f"Row {number:,}"
        yield cursor.value()
        cursor.where = f"After row {number:,}"


def at_end(cursor: Cursor) -> None:
    """Raise Unreadable where more follows."""
    if cursor.peek():
        raise Unreadable(
            f"The JSON document ends at byte {cursor.offset:,}, and more follows. "
            "Is it several documents in one file?"
        )


def cursor_of(part: Part) -> Cursor:
    """A cursor at the beginning of a file."""
    stream = part.stream()
    if stream.peek(3)[:3] == BOM:
        stream.read(3)
    return Cursor(stream)


def row_of(raw: bytes | None) -> dict[str, Any] | Refused:
    """The row that an object's text holds; None is the text of one that is too long."""
    if raw is None or len(raw) > MAX_ROW:
        return Refused("", f"the row is longer than {MAX_ROW:,} bytes")
    return decoded(raw)


def values_at(part: Part, offset: int, *, keys: bool = False) -> Iterator[bytes | None]:
    """The texts of the values of an array or an object that begins there; or those of its keys."""
    cursor = Cursor(io.BufferedReader(Window(part.seekable, offset), CHUNK))
    for key in each(cursor):
        value = cursor.value()
        yield key if keys else value
