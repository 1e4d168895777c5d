"""Tables as text: CSV, TSV and their like, with the dialect and the encoding found out."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from annotate.importing.files.archives import shown
from annotate.importing.files.bounded_streams import Part
from annotate.importing.files.json_lines import check_empty
from annotate.importing.files.readers import Head, Place, Reader
from annotate.importing.files.strict_json import check_text, too_long
from annotate.importing.files.text_encodings import is_utf8
from annotate.importing.limits import CHUNK, HEAD, MAX_COLUMN, MAX_COLUMNS, MAX_ROW, MAX_SKIPPED
from annotate.importing.problems import Refused, Unreadable

DELIMITERS = {",": "CSV", ";": "CSV with semicolons", "\t": "TSV", "|": "CSV with vertical bars"}
ONE_COLUMN = "\x1f"
"""A delimiter that no text holds: a table of one column has none."""
SAMPLE_ROWS = 200
SAME_LENGTH = 0.5
"""Share of the rows that have as many cells as the header, for a text to be a table; any share
will do for a file that is called one."""
MAX_SKIPPED_LINES = 500_000
"""Lines of one row that is too long: about a second."""
VALUE = re.compile(
    r"[+-]?\d[\d.,]*(?:e[+-]?\d+)?|\w+://.*|.*\n.*|.{101,}|(?:\S+\s+){11,}.*", re.DOTALL
)
"""No name of a column: a number, an address, several lines, a long text, twelve words."""
NAMES = re.compile(r"\.(?:csv|tsv|tab)(?:\.\w+)?$", re.IGNORECASE)

QUALTRICS = '{"ImportId":'

csv.field_size_limit(MAX_ROW)  # For the process: csv knows no other. 131,072 before.


@dataclass(frozen=True)
class Dialect:
    delimiter: str = ","
    quotes: bool = True
    escape: str | None = None

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quotes else csv.QUOTE_NONE,
            escapechar=self.escape,
            doublequote=self.escape is None,
            # A quote in the wrong place is an error, not a guess at where the cell ends.
            strict=True,
        )


class Delimited(Reader):
    """A text of cells, of which the first row names the columns. An empty cell is None: the format
    knows no other way to say that there is nothing, and pandas and `datasets` write it so."""

    def __init__(self, part: Part, head: Head) -> None:
        super().__init__(part, head)
        self._latin = not is_utf8(head.data)
        sample = head.data.decode("cp1252" if self._latin else "utf-8-sig", "replace")
        declared = DECLARED.match(sample)
        self._declares = declared is not None
        sample = sample[declared.end() :] if declared else sample
        self._dialect, rows = dialect_of(sample, len(head.data) < HEAD, head.name)
        self.columns = _header(rows)
        self._header_rows = _header_rows(rows)
        self.title = DELIMITERS.get(self._dialect.delimiter, "CSV of one column")
        if self._latin:
            self.title += ", Windows-1252"
        if self._header_rows > 1:
            self.title += f", its first {self._header_rows} rows a header"

    def rows(self) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        source = io.TextIOWrapper(
            self.part.stream(),
            encoding="cp1252" if self._latin else "utf-8-sig",
            errors="surrogateescape",
            newline="",
        )
        lines = _Lines(source, self._dialect)
        if self._declares:
            next(lines)
        reader = self._dialect.reader(lines)
        names, columns = self.columns or [], len(self.columns or [])
        said_utf8, header, empty = False, self._header_rows, 0
        while True:
            lines.begin()
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield Place("", lines.first), _wrong(error)
                continue
            except Refused as refused:
                yield Place("", lines.first), refused
                continue
            if cells is None:
                return
            empty = 0 if cells else empty + 1
            if header or not cells:
                header -= bool(header and cells)
                check_empty(empty, lines.first)
                continue
            if len(cells) != columns:
                told = f"cells: {len(cells):,}; the header names {columns:,} columns"
                yield Place("", lines.first), Refused("", told)
                continue
            row: dict[str, Any] = {
                name: cell or None for name, cell in zip(names, cells, strict=True)
            }
            if lines.peculiar:
                try:
                    said_utf8 = self._checked(row, said_utf8)
                except Refused as refused:
                    yield Place("", lines.first), refused
                    continue
            yield Place("", lines.first), row

    def _checked(self, row: dict[str, Any], said_utf8: bool) -> bool:
        """Refuse what cannot be stored. A first strange byte far down makes the text Windows-1252.

        Returns whether the text has shown to be UTF-8.
        """
        text = "".join(cell for cell in row.values() if cell)
        broken = not _encodes(text)
        if broken and not self._latin and not said_utf8:
            for name, cell in row.items():
                raw = (cell or "").encode(errors="surrogateescape")
                row[name] = raw.decode("cp1252", "surrogateescape") or None
        for name, cell in row.items():
            if cell and not _encodes(cell):
                byte = next(ord(c) - 0xDC00 for c in cell if "\udc80" <= c <= "\udcff")
                wanted = "UTF-8" if said_utf8 else "Windows-1252"
                raise Refused(name[:40], f"not {wanted}: byte 0x{byte:02x}")
            check_text(cell or "", name)
        return said_utf8 or not (broken or self._latin or text.isascii())


class _Lines:
    """Lines of a text for csv, counted, with a bound for all of one row together."""

    def __init__(self, source: io.TextIOWrapper, dialect: Dialect) -> None:
        self._source, self._quotes = source, dialect.quotes
        self._number = self._length = self._quoted = 0
        self.first, self.peculiar = 1, False

    def __iter__(self) -> Iterator[str]:
        return self

    def begin(self) -> None:
        """Another row begins."""
        self.first, self._length, self._quoted = self._number + 1, 0, 0
        self.peculiar = False
        """True when the row holds anything beyond ASCII, or NUL."""

    def __next__(self) -> str:
        line = self._source.readline(MAX_ROW + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self._length += len(line)
        if not line.isascii() or "\x00" in line:
            self.peculiar = True
        if self._length > MAX_ROW:
            self._skip(line)
            raise Refused("", f"the row is longer than {MAX_ROW:,} characters")
        if self._quotes:
            self._quoted += line.count('"')
        return line

    def _skip(self, line: str) -> None:
        """Go to the end of the row: the end of a line with the quotes closed."""
        skipped = 0
        while True:
            self._quoted += line.count('"') if self._quotes else 0
            if line.endswith(("\n", "\r")):
                if not self._quoted % 2:
                    return
                self._number += 1
            skipped += len(line)
            if skipped > MAX_SKIPPED or self._number - self.first > MAX_SKIPPED_LINES:
                lines = self._number - self.first
                over = f"{lines:,} lines and {MAX_ROW:,}" if lines else f"{MAX_SKIPPED:,}"
                raise Unreadable(
                    f"The row that begins on line {self.first:,} goes on for more than "
                    f"{over} characters. Is a quote missing?"
                )
            line = self._source.readline(CHUNK)
            if not line and self._quoted % 2:
                raise Unreadable(
                    f"A cell in the row that begins on line {self.first:,} is never closed: "
                    "a quote is missing."
                )
            if not line:
                return


def _wrong(error: csv.Error) -> Refused:
    told = str(error)
    if "unexpected end" in told:
        told = "a quote is opened and never closed"
    elif "expected after" in told:
        told = "a quote stands within a cell; quotes in quoted cells are doubled"
    return Refused("", told)


DECLARED = re.compile(r"sep=[^\r\n]{0,3}\r?\n", re.IGNORECASE)
"""The first line of a table for Excel, which names what parts the cells; it is seen anyway."""


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def dialect_of(sample: str, whole: bool, name: str) -> tuple[Dialect, list[list[str]]]:
    """The dialect of a table, and its first rows. Raises Unreadable where the text is no table."""
    if not whole:
        sample, newline, _ = sample.rpartition("\n")
        if not newline:
            raise Unreadable(f"The first line is longer than {HEAD:,} bytes. It names no columns.")
    least = 0.0 if NAMES.search(name) else SAME_LENGTH
    best, best_score, best_rows = None, (0.0, 1), [[""]]
    for dialect in _dialects(sample):
        rows = _first_rows(dialect, sample, whole)
        cells = len(rows[0]) if rows else 0
        same = [len(row) == cells for row in rows[1:]] or [True]
        score = (sum(same) / len(same), cells)
        if cells > MAX_COLUMNS or (cells > 1 and score[0] >= least and score > best_score):
            best, best_score, best_rows = dialect, score, rows
    if best is not None:
        return best, best_rows
    one = Dialect(ONE_COLUMN)
    rows = _first_rows(one, sample, whole)
    if rows and (NAMES.search(name) or re.fullmatch(r"[A-Za-z_]\w{0,40}", rows[0][0].strip())):
        return one, rows
    begin = sample.strip()[:60]
    raise Unreadable(
        "This is no file of rows: neither JSON nor Parquet nor Arrow, and no table either. "
        f"It begins with {begin!r}."
        if begin
        else "The file holds no rows."
    )


def _dialects(sample: str) -> Iterator[Dialect]:
    for delimiter in DELIMITERS:
        if delimiter in sample:
            yield Dialect(delimiter)
            if '\\"' in sample:
                yield Dialect(delimiter, escape="\\")
            if delimiter == "\t" and '"' in sample:
                yield Dialect(delimiter, quotes=False)


def _first_rows(dialect: Dialect, sample: str, whole: bool) -> list[list[str]]:
    """The first rows that are not empty; [] stands for one that is against the dialect."""
    reader = dialect.reader(iter(io.StringIO(sample, newline="")))
    rows: list[list[str]] = []
    while len(rows) < SAMPLE_ROWS:
        try:
            row = next(reader, None)
        except csv.Error as error:
            if "unexpected end" in str(error) and not whole:
                break  # The sample ends within the row.
            rows.append([])
            continue
        if row is None:
            break
        if row:
            rows.append(row)
    return rows


def _header_rows(rows: list[list[str]]) -> int:
    """The rows of a header: in tables of Qualtrics questions and ids stand under the names."""
    ids = (
        number
        for number, row in enumerate(rows[:3], 1)
        if row and all(cell.startswith(QUALTRICS) for cell in row if cell) and any(row)
    )
    return next(ids, 1)


def _header(rows: list[list[str]]) -> list[str]:
    """The names of the columns; a column without a name is called as pandas calls it."""
    first = [cell.strip() for cell in rows[0]]
    if len(first) > MAX_COLUMNS:
        raise Unreadable(
            f"The first row names {len(first):,} columns; at most {MAX_COLUMNS:,} are read."
        )
    below = [{row[i] for row in rows[1:] if i < len(row)} for i in range(len(first))]
    values = [
        cell
        for cell, others in zip(first, below, strict=True)
        if cell and (VALUE.fullmatch(cell) or cell in others)
    ]
    if 2 * len(values) >= len(first):
        raise Unreadable(
            "The first row has to name the columns, and it holds values: "
            f"{', '.join(repr(cell[:30]) for cell in values[:3])}. Put a row of names above it."
        )
    long = next((cell for cell in first if len(cell) > MAX_COLUMN), None)
    if long is not None:
        raise Unreadable(f"Column {long[:40]!r}: {too_long(long)}.")
    names = [shown(cell, MAX_COLUMN) or f"Unnamed: {number}" for number, cell in enumerate(first)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Unreadable(f"The first row names two columns {twice[0][:40]!r}.")
    return names
