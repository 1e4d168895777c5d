"""Lines of CSV that a spreadsheet shows as they are, and that can be read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Characters a spreadsheet takes for the start of a formula (OWASP, "CSV Injection")."""
MARKED = (*FORMULA, "'")


def csv_line(values: Iterable[object]) -> bytes:
    """One line. Text that would be run as a formula gets an apostrophe, which makes it text.

    So does text that begins with one, so that `text_of` can take it off again.
    """
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_cell(value) for value in values])
    return buffer.getvalue().encode()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(MARKED) else value


def text_of(cell: str) -> str:
    """The text that a cell was written from."""
    return cell.removeprefix("'")
