"""Lines of a JSONL file, plain or gzip, without ever holding a hostile one in memory."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from annotate.importing.problems import Refused, Unreadable

MAX_LINE = 1_000_000
MAX_DEPTH = 32
CHUNK = 64 * 1024
GZIP = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
LFS = b"version https://git-lfs"
SIGNATURES = {
    LFS: "This is a git-LFS pointer, not the data: fetch the file with `git lfs pull`.",
    b"\xff\xfe": "This file is UTF-16. Save it as UTF-8.",
    b"\xfe\xff": "This file is UTF-16. Save it as UTF-8.",
    b"PK\x03\x04": "This is a ZIP archive. Unpack it first.",
    b"PAR1": "This is a Parquet file; JSON lines are expected.",
    b"\x28\xb5\x2f\xfd": "This file is compressed with zstd. Unpack it first.",
}


def opened(file: IO[bytes]) -> IO[bytes]:
    """The file from its start, decompressed if need be; files of another kind are refused."""
    file.seek(0)
    stream: IO[bytes] = file
    if file.read(2) == GZIP:
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file, mode="rb")  # type: ignore[assignment]  # It reads like one.
    try:
        stream.seek(0)
        head = stream.read(64)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"The file is not a readable gzip archive: {error}.") from error
    for signature, message in SIGNATURES.items():
        if head.startswith(signature):
            raise Unreadable(message)
    if head.removeprefix(BOM).lstrip().startswith(b"["):
        raise Unreadable("This is a JSON array; JSON lines are expected, one object per line.")
    stream.seek(0)
    return stream


class Bounded:
    """Reads lines up to a number of bytes in all, so that no archive expands for ever."""

    def __init__(self, stream: IO[bytes], most: int | None) -> None:
        self._stream, self._most, self._read = stream, most, 0

    def line(self, size: int) -> bytes:
        line = self._stream.readline(size)
        self._read += len(line)
        if self._most is not None and self._read > self._most:
            raise Unreadable(f"The file holds more than {self._most:,} bytes.")
        return line

    def skip_line(self) -> None:
        while (line := self.line(CHUNK)) and not line.endswith(b"\n"):
            pass


def json_rows(
    file: IO[bytes], *, max_bytes: int | None = None
) -> Iterator[tuple[int, dict[str, Any] | Refused]]:
    """(line number, JSON object or Refused) of every line that is not blank.

    `max_bytes` bounds the decompressed size.
    """
    stream = Bounded(opened(file), max_bytes)
    number = 0
    try:
        while line := stream.line(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                if not line.endswith(b"\n"):
                    stream.skip_line()
                yield number, Refused("", f"the line is longer than {MAX_LINE:,} bytes")
            elif text := (line.removeprefix(BOM) if number == 1 else line).strip():
                yield number, _decoded(text)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable(f"The archive is damaged after line {number}: {error}.") from error


def _decoded(line: bytes) -> dict[str, Any] | Refused:
    try:
        return parse(line.decode())
    except UnicodeDecodeError as error:
        byte = line[error.start]
        return Refused("", f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1}")
    except Refused as error:
        return error


def parse(text: str) -> dict[str, Any]:
    """A JSON object, strictly: json.loads alone accepts what no database can store."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except Refused:
        raise
    except RecursionError:
        raise Refused("", f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise Refused("", f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused("", "not a JSON object")
    # Walking every value is slow; few lines hold enough brackets or an escape that calls for it.
    if text.count("[") + text.count("{") > MAX_DEPTH or "\\u" in text or "\x00" in text:
        _check(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(twice[:40], "the key occurs twice in one object")
    return members


def _no_constant(name: str) -> NoReturn:
    raise Refused("", f"{name} is not JSON")


def _check(value: Any) -> None:
    """Refuse deep nesting, and characters that no UTF-8 text or no PostgreSQL text can hold."""
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise Refused("", f"nested deeper than {MAX_DEPTH}")
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict):
            stack += [(x, depth + 1) for pair in item.items() for x in pair]
        elif isinstance(item, list):
            stack += [(x, depth + 1) for x in item]


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise Refused("", "a text holds a NUL character")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Refused("", "a text holds half a surrogate pair")
