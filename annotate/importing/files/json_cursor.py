"""A cursor over a JSON text of any length: value by value, with the memory of one value."""

from __future__ import annotations

import io
import re

from annotate.importing.limits import CHUNK, MAX_ROW, MAX_SKIPPED
from annotate.importing.problems import Unreadable

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
