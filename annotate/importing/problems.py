"""Problems of a file or a row, in words for the person who made it."""

from __future__ import annotations

from dataclasses import dataclass


class Unreadable(ValueError):
    """The file as a whole cannot be read; the message says why and what to do."""


class Refused(ValueError):
    """One row cannot be imported: which field, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field, self.reason = field, reason


@dataclass(frozen=True)
class Problem:
    """A refused row, or a warning about an accepted one."""

    line: int
    field: str
    reason: str
    file: str = ""
    """The member of an archive or the split that the row is in; "" of a plain file."""
    unit: str = "line"
    """The thing that `line` counts: "line" or "row"."""
    value: str = ""
    """The field's value, cut."""

    def __str__(self) -> str:
        file = f"{self.file}, " if self.file else ""
        field = f"{self.field}: " if self.field else ""
        return f"{file}{self.unit} {self.line}: {field}{self.reason}"
