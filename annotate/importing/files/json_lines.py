"""JSON lines: one object per line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from annotate.importing.files.readers import Place, Reader
from annotate.importing.files.strict_json import decoded
from annotate.importing.limits import CHUNK, MAX_EMPTY, MAX_ROW, MAX_SKIPPED
from annotate.importing.problems import Refused, Unreadable

BOM = b"\xef\xbb\xbf"


class JsonLines(Reader):
    title = "JSON lines"

    def rows(self) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        stream, number, empty = self.part.stream(), 0, 0
        while line := stream.readline(MAX_ROW + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(BOM)
            if len(line) > MAX_ROW:
                if not line.endswith(b"\n"):
                    skip_line(stream, number)
                yield Place("", number), Refused("", f"the line is longer than {MAX_ROW:,} bytes")
            elif text := line.strip():
                empty = 0
                yield Place("", number), decoded(text)
            else:
                empty += 1
                check_empty(empty, number)


def check_empty(empty: int, number: int) -> None:
    """Refuse to go on through lines without anything, which an archive holds by the billion."""
    if empty > MAX_EMPTY:
        raise Unreadable(f"Line {number:,} ends a million empty lines. This is no data.")


def skip_line(stream: io.BufferedReader, number: int) -> None:
    skipped = 0
    while (piece := stream.readline(CHUNK)) and not piece.endswith(b"\n"):
        skipped += len(piece)
        if skipped > MAX_SKIPPED:
            raise Unreadable(
                f"Line {number:,} is longer than {MAX_SKIPPED:,} bytes. This is no row."
            )
