"""The file of a project: recognised by its first line, read in order, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from annotate.exporting.project.project_file_writer import (
    COLUMNS,
    FORMAT,
    FORMAT_VERSION,
    Content,
)
from annotate.importing import files
from annotate.importing.problems import Refused, Unreadable
from annotate.importing.project.line_values import HASH, Line
from annotate.votes.export_values import line

ORDER = (
    *("settings", "guideline", "prompt", "completion", "pair", "model_note", "version", "record"),
)
"""Parts of the file. A line for a person stands before the first that names them."""
PART = {
    **{name: place for place, name in enumerate(ORDER)},
    **dict.fromkeys(("assignment", "answer"), ORDER.index("pair")),
    **dict.fromkeys(("version_people", "version_decisions"), ORDER.index("version")),
}
PERSON = "person"


class ProjectFile:
    """An open file whose first line says that it is a project's."""

    def __init__(self, source: files.Source, header: Line) -> None:
        self.source = source
        self.slug = header.text("project")
        self.name = header.text("name")
        header.optional("description")
        self.dataset_version = header.whole("dataset_version", 0, 2_147_483_647)
        header.optional("votes_sha256")
        header.end()
        self.sha256 = ""
        """Of the content; known once the last line was read."""
        self.n_lines = 0

    def lines(self) -> Iterator[tuple[int, str, Line]]:
        """Place, type and content of each line between the first and the last.

        Raises Unreadable, at the latest at the end, for a file that is not as it was written.
        """
        rows, content, part = self.source.rows(), Content(), -1
        next(rows)
        for place, raw in rows:
            raw = _readable(place.line, raw)
            if raw.get("type") == COLUMNS and not content.lines:
                continue
            if raw.get("type") == "end":
                self._end(place.line, raw, content)
                if next(rows, None) is not None:
                    raise Unreadable("There are lines behind the end of the project.")
                return
            content.add(line(raw))
            self.n_lines = content.lines
            kind, one = _typed(place.line, raw)
            if kind != PERSON:
                if PART[kind] < part:
                    one.refuse("type", f"a {kind} does not stand here")
                part = PART[kind]
            yield place.line, kind, one
        raise Unreadable(
            "The end of the project is missing: the file was cut off. Export or send it again."
        )

    def _end(self, place: int, raw: dict[str, Any], content: Content) -> None:
        end = Line(place, raw)
        end.text("type")
        lines, self.sha256 = end.whole("lines", 0, 2**62), end.text("sha256", pattern=HASH)
        end.end()
        if (lines, self.sha256) != (content.lines, content.sha256):
            raise Unreadable(
                "The file is not as it was exported: its content has another hash than its last "
                "line says. Export or send it again."
            )


def _readable(place: int, raw: dict[str, Any] | Refused) -> dict[str, Any]:
    if isinstance(raw, Refused):
        raise Unreadable(f"Line {place:,}: {raw}.") from raw
    return raw


def _typed(place: int, raw: dict[str, Any]) -> tuple[str, Line]:
    one = Line(place, raw)
    kind = one.text("type")
    if kind != PERSON and kind not in PART:
        one.refuse("type", f"no {kind[:40]!r} is known in a project")
    return kind, one


def _header(source: files.Source) -> Line | None:
    """The first line, if it is that of a project."""
    for place, raw in source.rows():
        if isinstance(raw, Refused) or raw.get("format") != FORMAT or raw.get("type") != "header":
            return None
        header = Line(place.line, raw)
        header.text("type")
        header.text("format")
        version = header.whole("format_version", 1, 2**31)
        if version > FORMAT_VERSION:
            raise Unreadable(
                f"A later release wrote this project (its format is {version}, this release reads "
                f"{FORMAT_VERSION}). Update first."
            )
        return header
    return None


def is_project(file: Path | IO[bytes], *, name: str, max_bytes: int | None = None) -> bool:
    """True of a project's file. Raises Unreadable, also of one of a later release."""
    with files.opened(file, name=name, max_bytes=max_bytes) as source:
        return _header(source) is not None


@contextmanager
def opened_project(
    file: Path | IO[bytes], *, name: str, max_bytes: int | None = None
) -> Iterator[ProjectFile]:
    """The file of a project. Raises Unreadable."""
    with files.opened(file, name=name, max_bytes=max_bytes) as source:
        header = _header(source)
        if header is None:
            raise Unreadable("This is no project.")
        yield ProjectFile(source, header)
