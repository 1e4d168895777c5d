"""Lines of CSV that a spreadsheet shows as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the start of a formula (OWASP, "CSV Injection")."""


def csv_line(values: Iterable[object]) -> bytes:
    """One line. Text that would be run as a formula gets an apostrophe, which makes it text."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([_cell(value) for value in values])
    return buffer.getvalue().encode()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
