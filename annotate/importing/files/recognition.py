"""The table of file formats; each file is recognised by its content."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from annotate.importing.files import csv_and_tsv, json_documents
from annotate.importing.files.bounded_streams import Part, recoded
from annotate.importing.files.readers import Head, Reader
from annotate.importing.files.text_encodings import (
    Guess,
    guessed,
    is_utf8,
    is_western,
    short_title,
)
from annotate.importing.limits import HEAD
from annotate.importing.problems import Unreadable


class FileFormat(NamedTuple):
    """A kind of file: `recognises` looks at its beginning, `reader` gives its rows."""

    recognises: Callable[[Head], bool]
    reader: Callable[[Part, Head], Reader]


ARROW = (b"ARROW1\0\0", b"\xff\xff\xff\xff")
"""A file and a stream."""


def _begins(*signatures: bytes) -> Callable[[Head], bool]:
    return lambda head: head.data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(signatures)


def _parquet(part: Part, head: Head) -> Reader:
    # Here and not above: pyarrow takes memory in every web process, and most never import.
    from annotate.importing.files.columnar.parquet_tables import Parquet

    return Parquet(part, head)


def _arrow(part: Part, head: Head) -> Reader:
    from annotate.importing.files.columnar.arrow_tables import Arrow

    return Arrow(part, head)


FORMATS_IN: dict[str, FileFormat] = {
    "parquet": FileFormat(lambda head: head.data.startswith(b"PAR1"), _parquet),
    "arrow": FileFormat(lambda head: head.data.startswith(ARROW), _arrow),
    "json": FileFormat(_begins(b"{", b"["), json_documents.json_reader),
}
"""The first that recognises a file reads it; one that none recognises is taken for CSV."""

NO_DATA: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "This is a git-LFS pointer, not the data: fetch the file with `git lfs pull`.",
    ),
    (b"%PDF", "This is a PDF. Save the rows as CSV or JSON lines."),
    (b"\xd0\xcf\x11\xe0", "This is an old Office file (XLS, DOC). Save the sheet as CSV (UTF-8)."),
    (b"\x93NUMPY", "This is a NumPy file. Save the rows as JSON lines."),
    (b"FEA1", "This is a Feather file of version 1. Save it as Parquet."),
    (b"ORC", "This is an ORC file. Save it as Parquet."),
    (b"Obj\x01", "This is an Avro file. Save it as Parquet."),
    (b"SQLite format 3", "This is an SQLite database. Save the table as CSV."),
    (b"BZh", "This file is compressed with bzip2. Unpack it first."),
    (b"\xfd7zXZ", "This file is compressed with xz. Unpack it first."),
    (b"7z\xbc\xaf", "This is a 7z archive. Unpack it first."),
    (b"Rar!\x1a\x07", "This is a RAR archive. Unpack it first."),
    (b"\x89PNG", "This is an image."),
    (b"\xff\xd8\xff", "This is an image."),
    (b"\x1e", "This is a JSON text sequence (RFC 7464). Save it as JSON lines."),
    (b"\x1f\x8b", "This file is compressed twice. Unpack it once."),
    (b"\x28\xb5\x2f\xfd", "This file is compressed twice. Unpack it once."),
)
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Bytes of no text: a table may begin with the same letters as a binary file (ORCID)."""
WRITTEN: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(
            rb"(?:(?:export\s+)?(?:const|let|var)\s+\w+\s*=|(?:window|module)\.\w+\s*=|"
            rb"export\s+default\b)\s*[\[{(]"
        ),
        "This is JavaScript. Save what stands behind the = as JSON.",
    ),
    (
        re.compile(rb"(?:---[ \t]*\r?\n)?- [\w ]{1,40}:[ \t].*\r?\n  [\w ]{1,40}:"),
        "This is YAML. Save the rows as JSON lines.",
    ),
)
"""Texts that hold rows in a language which is not read here."""
PAGE = re.compile(rb"<(?:!doctype html|html|head|(?:!--|\?xml).{0,900}?<html)[\s>]", re.DOTALL)
"""The beginning of a web page, in small letters; rows of data may well hold one."""
MARKS = (
    *((b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32")),
    *((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")),
)
"""Byte order marks; the first two bytes of a longer one are a shorter one."""
PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def reader_of(part: Part, name: str, encoding: str = "") -> Reader:
    """The reader of a file that is no archive. Raises Unreadable where there is none.

    `encoding` is that of a text, where a person has chosen it.
    """
    data = part.start()
    if not data.strip():
        empty = f"The file begins with {HEAD:,} bytes of white space. This is no data."
        raise Unreadable("The file holds no rows." if len(data) < HEAD else empty)
    wide = _wide(data)
    if not wide:
        _refuse_others(data)
    guess = _guess(data, encoding, wide)
    if guess:
        part = recoded(part, guess.encoding)
        data = part.start()
    head = Head(name, data)
    _refuse_others(data)
    for one in FORMATS_IN.values():
        if one.recognises(head):
            reader = one.reader(part, head)
            break
    else:
        reader = csv_and_tsv.Delimited(part, head)
    if guess:
        named = wide[:6].upper() if wide and not encoding else short_title(guess.encoding)
        reader.title += f", {'probably ' if guess.asked else ''}{named}"
        reader.encoding, reader.encoding_asked = guess.encoding, guess.asked
    return reader


def _guess(data: bytes, chosen: str, wide: str) -> Guess | None:
    """The encoding to read a text in, where it is neither UTF-8 nor told by the reader itself.

    Raises Unreadable where no encoding fits.
    """
    if data.startswith((b"PAR1", *ARROW)) or chosen == "utf-8":
        return None
    if chosen or wide:
        return Guess(chosen or wide, asked=False)
    if is_utf8(data):
        return None
    if is_western(data):
        # Tables tell it themselves, also where the first accent stands far down.
        return Guess("cp1252", asked=False) if _is_json_with_accents(data) else None
    guess = guessed(data)
    if guess is None:
        at = next(place for place, byte in enumerate(data) if byte > 127)
        raise Unreadable(
            f"The text is neither UTF-8 nor in another encoding that is known here (byte "
            f"0x{data[at]:02x} at position {at + 1:,}). Save it as UTF-8, or say its encoding."
        )
    return guess


def _is_json_with_accents(data: bytes) -> bool:
    """True where several bytes are no UTF-8: of one or two, the rows are refused."""
    accents = sum(byte > 127 for byte in data)
    return FORMATS_IN["json"].recognises(Head("", data)) and accents > 2


def _wide(data: bytes) -> str:
    """The encoding, by the byte order mark or by the zeros beside ASCII letters; "" of others."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return encoding
    start = data[:200]
    for encoding, zeros, letters in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        # Most letters at the start are ASCII: names of columns, brackets, commas. And few others
        # have a zero on their other side, as the first of every 256 does.
        if start[letters::2].count(0) <= len(start) // 20 and (
            len(start) > 3 and 4 * start[zeros::2].count(0) > len(start)
        ):
            return encoding
    return ""


def _refuse_others(data: bytes) -> None:
    for signature, message in NO_DATA:
        if data.startswith(signature) and (len(signature) > 3 or CONTROL.search(data[:1000])):
            raise Unreadable(message)
    if data.startswith(PICKLES):
        raise Unreadable("This is a pickle, which may run code. Save the rows as JSON lines.")
    start = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if PAGE.match(start):
        raise Unreadable(
            "This is a web page, not the data: the download may have been an error page."
        )
    if start.startswith(b"<?xml"):
        raise Unreadable("This is XML. Save the rows as CSV or JSON lines.")
    for pattern, message in WRITTEN:
        if pattern.match(data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n")):
            raise Unreadable(message)
    if start.startswith(b"{\\rtf"):
        raise Unreadable("This is a text document (RTF). Save the rows as CSV or JSON lines.")
