"""The readers of single files: what each gives, whatever the format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from annotate.importing.files.bounded_streams import Part
from annotate.importing.problems import Refused


class Place(NamedTuple):
    """The place of a row.

    `file` is the member of an archive, the split of a folder or of a JSON object, and "" of a
    plain file. `line` counts from 1: lines of text, otherwise rows.
    """

    file: str
    line: int


@dataclass(frozen=True)
class Head:
    """The beginning of a file, as UTF-8 where it is UTF-16."""

    name: str
    data: bytes


class Reader:
    """The rows of one file, readable again and again. `title` names the format for people."""

    title = ""
    unit = "line"
    """The thing that Place.line counts: "line" or "row"."""
    columns: list[str] | None = None
    """Of tables, known before the first row."""
    encoding = ""
    """Python's name of the one that the text was read in, where it is not UTF-8."""
    encoding_asked = False
    """The text does not say enough: somebody has to."""

    def __init__(self, part: Part, head: Head) -> None:
        self.part, self.head = part, head

    def rows(self) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        raise NotImplementedError

    def share(self) -> float:
        """The share of the rows that has been read, 0 to 1."""
        return self.part.share()
