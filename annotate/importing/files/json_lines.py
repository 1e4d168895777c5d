"""JSON lines: one object per line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from annotate.importing.files.json_cursor import BOM
from annotate.importing.files.readers import Place, Reader
from annotate.importing.files.strict_json import decoded
from annotate.importing.limits import CHUNK, MAX_EMPTY, MAX_ROW, MAX_SKIPPED
from annotate.importing.problems import Refused, Unreadable


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
                yield Place("", number), unwrapped(decoded(text))
            else:
                empty += 1
                check_empty(empty, number)


def unwrapped(row: dict[str, Any] | Refused) -> dict[str, Any] | Refused:
    """A row that stands in an object beside its number, as in the API of the Hugging Face viewer,
    or beside its index, as Elasticsearch gives it."""
    if not isinstance(row, dict):
        return row
    if "row_idx" in row and isinstance(row.get("row"), dict):
        return {**row["row"], "row_idx": row["row_idx"]}
    if "_source" in row and "_index" in row and isinstance(row["_source"], dict):
        beside = {key: value for key, value in row.items() if key != "_source"}
        return beside | row["_source"]
    return row


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
