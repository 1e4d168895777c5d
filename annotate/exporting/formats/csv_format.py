"""Format `csv`: the pairs with a winner as text, those without, and the votes, as tables.

Safe in a spreadsheet and reversible: text that begins with what a spreadsheet takes for a formula,
or with an apostrophe, gets an apostrophe before it, which `read` takes off. Lists, chats and
metadata are JSON; an empty cell is null, and in a column of texts an empty text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from annotate.exporting.formats import column_types, parquet_format, trl_format
from annotate.exporting.formats.column_types import Columns
from annotate.exporting.formats.text_styles import text_style
from annotate.exporting.formats.trl_format import Row
from annotate.models import DatasetVersion
from annotate.votes.export_values import line
from annotate.votes.formula_safe_csv import csv_line, text_of

PARTS = {
    "csv": "the pairs with a winner as text, one line each",
    "ties": trl_format.TIES,
    "votes": "one line per vote",
}
LONGEST = 2**24
"""Characters of a cell that are read."""


def counts(version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
    """Rows, the pairs without a winner by kind, and votes."""
    kinds = parquet_format.counts(version, include_simulated=include_simulated)
    return {"csv" if name == "parquet" else name: count for name, count in kinds.items()}


def lines(
    version: DatasetVersion, *, part: str = "csv", include_simulated: bool
) -> Iterator[bytes]:
    """The lines of one part with its header; none of a part beside the first without rows."""
    rows, columns = _rows(version, part, include_simulated=include_simulated)
    return table(rows, columns, empty=part == "csv")


def _rows(
    version: DatasetVersion, part: str, *, include_simulated: bool
) -> tuple[Iterator[Row], Columns]:
    if part == "votes":
        rows = parquet_format.part_rows(version, part, include_simulated=include_simulated)
        return rows, column_types.of_votes(version)
    style, told = text_style(version), {"include_simulated": include_simulated}
    if part == "ties":
        written, columns = trl_format.ties(version, style, **told), column_types.UNDECIDED
    else:
        written = trl_format.winners(version, style, **told, margins=True)
        columns = column_types.PREFERENCE
    # Prompts and replies are texts here, and tools belong to chats.
    texts = {
        name: column_types.TEXT if kind == column_types.CHAT else kind
        for name, kind in columns.items()
        if kind != column_types.TOOLS
    }
    return written, texts


def table(rows: Iterable[Row], columns: Columns, *, empty: bool = True) -> Iterator[bytes]:
    """Header and rows as CSV; without rows nothing, unless `empty`."""
    header = csv_line(columns)
    if empty:
        yield header
    for row in rows:
        if not empty:
            yield header
            empty = True
        yield csv_line([_cell(row.get(name), kind) for name, kind in columns.items()])


def _cell(value: Any, kind: str) -> Any:
    if value is None:
        return ""
    if kind == column_types.BOOL:
        return "true" if value else "false"
    return line(value)[:-1].decode() if kind in _JSON else value


_JSON = (column_types.WORDS, column_types.JSON, column_types.CHAT, column_types.TOOLS)
READERS: dict[str, Callable[[str], Any]] = {
    column_types.TEXT: text_of,
    column_types.NULLABLE: text_of,
    column_types.FLOAT: float,
    column_types.INT: int,
    column_types.BOOL: lambda cell: cell == "true",
    **dict.fromkeys(_JSON, json.loads),
}
_OF_PAIRS = {
    name: column_types.TEXT if kind == column_types.CHAT else kind
    for name, kind in {**column_types.UNDECIDED, **column_types.PREFERENCE}.items()
}


def read(lines: Iterable[str]) -> Iterator[Row]:
    """The rows that a file of this format holds, as they were exported.

    `lines` is the file, opened as UTF-8 with newline="".
    """
    csv.field_size_limit(LONGEST)
    for cells in csv.DictReader(lines):
        kinds = column_types.MARKED_VOTE if "vote_id" in cells else _OF_PAIRS
        yield {name: _value(cell, kinds[name]) for name, cell in cells.items()}


def _value(cell: str, kind: str) -> Any:
    if not cell and kind != column_types.TEXT:
        return None
    return READERS[kind](cell)
