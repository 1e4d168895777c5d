"""Exports of a dataset version as JSON lines, streamed and byte-identical when repeated.

May import: models, votes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from annotate.exporting.formats import sft_format, trl_format, votes_format
from annotate.models import DatasetVersion


class Lines(Protocol):
    """A function that streams one part of a version as JSON lines."""

    def __call__(
        self, version: DatasetVersion, *, part: str, include_simulated: bool
    ) -> Iterator[bytes]: ...


class Counts(Protocol):
    """A function that tells, before the export is read, what it holds and what it leaves out."""

    def __call__(self, version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]: ...


class ExportFormat(NamedTuple):
    """One format of the table below, as pages, API and command offer it."""

    lines: Lines
    parts: dict[str, str]
    """Name of each part and what it holds, in words; the first is the export, others go beside."""
    counts: Counts | None = None
    """Without it, the lines of the first part are counted."""

    @property
    def main_part(self) -> str:
        return next(iter(self.parts))

    def counted(self, version: DatasetVersion, *, include_simulated: bool) -> dict[str, int]:
        """Figures that go with an export: rows by kind."""
        if self.counts is not None:
            return self.counts(version, include_simulated=include_simulated)
        part = self.main_part
        lines = self.lines(version, part=part, include_simulated=include_simulated)
        return {part: sum(1 for _ in lines)}


# A format is one function that yields lines, and one line here.
FORMATS: dict[str, ExportFormat] = {
    "trl": ExportFormat(trl_format.lines, trl_format.PARTS, trl_format.counts),
    "sft": ExportFormat(sft_format.lines, sft_format.PARTS, sft_format.counts),
    "votes": ExportFormat(votes_format.lines, votes_format.PARTS, votes_format.counts),
}


class UnknownFormat(ValueError):
    """A format nobody wrote; the message names the known ones."""


def format_named(name: str) -> ExportFormat:
    """The format of that name. Raises UnknownFormat."""
    try:
        return FORMATS[name]
    except KeyError:
        known = ", ".join(sorted(FORMATS))
        raise UnknownFormat(f"Unknown export format {name!r}. Known formats: {known}.") from None
