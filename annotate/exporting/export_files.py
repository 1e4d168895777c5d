"""Writing an export to disk: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from annotate.exporting import format_named
from annotate.models import DatasetVersion


def write_export(
    version: DatasetVersion, format: str, out: Path, *, include_simulated: bool
) -> dict[str, Path]:
    """Write every part of the export; the first to `out`, side files beside it.

    A side file is `OUT.PART.jsonl`. Returns the path of each part.
    """
    chosen = format_named(format)
    paths = {
        part: out if part == chosen.main_part else out.with_name(f"{out.name}.{part}.jsonl")
        for part in chosen.parts
    }
    for part, path in paths.items():
        write_atomically(
            path, chosen.lines(version, part=part, include_simulated=include_simulated)
        )
    return paths


def write_atomically(path: Path, lines: Iterator[bytes]) -> None:
    """Write to a temporary name in the same folder, then rename: readers never see half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
