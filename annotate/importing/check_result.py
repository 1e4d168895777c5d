"""The question and the answer of the first pass over a file: a source, and what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from annotate.importing.import_report import Report
from annotate.importing.shapes.column_mapping import Chosen

Progress = Callable[[int, float], None]
"""Told the rows worked through and the share of the file; raises to stop."""


class Source(NamedTuple):
    """A file or a folder, and how it is read."""

    file: Path | IO[bytes]
    name: str
    mapping: Chosen
    max_bytes: int | None = None
    pairs_by: str = ""
    """Name of the rating by which replies to one prompt are compared; "" where they are not."""
    encoding: str = ""
    """Python's name of the encoding of its texts, where a person has chosen it."""


@dataclass
class Check:
    """Everything that the first pass learnt."""

    format: str = ""
    shape: str = ""
    left_out: list[str] = field(default_factory=list)
    """Members of an archive or folder that hold no rows."""
    mapping: dict[str, str] = field(default_factory=dict)
    """Field -> column, as it was chosen or recognised."""
    fields: list[dict[str, str]] = field(default_factory=list)
    questions: list[dict[str, str]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    """Name, use, rows that have it, and an example of its values."""
    preview: list[dict[str, Any]] = field(default_factory=list)
    report: Report = field(default_factory=Report)
    ratings: list[str] = field(default_factory=list)
    """Names of the ratings of replies."""
    encoding: str = ""
    """Python's name of the one that the text was read in, where it is not UTF-8."""
    encoding_asked: bool = False
    """Somebody has to say first whether it is that one."""
    project: dict[str, Any] = field(default_factory=dict)
    """Of a whole project: its slug, name, newest dataset version, content's hash and counts."""
