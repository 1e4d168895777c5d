"""Writing an export to disk: whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from annotate.exporting import ExportFormat, format_named
from annotate.exporting.ai_votes_part import AI_VOTES
from annotate.exporting.compression import compressed
from annotate.exporting.export_names import ending
from annotate.exporting.zip_stream import zipped
from annotate.models import DatasetVersion

PIECE = 1 << 18
"""Bytes of lines that are joined before they go on: one line is too little to pass about."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an export, besides its version and format."""

    include_simulated: bool = False
    compression: str = "none"
    told: dict[str, Any] = field(default_factory=dict)
    """Options of the format."""

    def of_format(self) -> dict[str, Any]:
        return {"include_simulated": self.include_simulated, **self.told}


def pieces(
    version: DatasetVersion, chosen: ExportFormat, part: str, options: Options
) -> Iterator[bytes]:
    """The bytes of one part in pieces of some size, compressed if that was asked for."""
    lines = chosen.lines(version, part=part, **options.of_format())
    return compressed(joined(lines), options.compression)


def joined(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines in pieces of about PIECE bytes."""
    piece, size = list[bytes](), 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE:
            yield b"".join(piece)
            piece, size = [], 0
    if piece:
        yield b"".join(piece)


def write_export(
    version: DatasetVersion,
    format: str,
    out: Path,
    *,
    options: Options = Options(),
) -> dict[str, Path]:
    """Write every part of the export; the first to `out`, side files beside it.

    A side file is `OUT.PART.jsonl` (or what the format's files end in); one without rows is not
    written, and one that an earlier export left goes. A folder is written as one. Returns the path
    of each part that was written.
    """
    chosen = format_named(format)
    if chosen.files is not None:
        write_folder(out, chosen.files(version, **options.of_format()))
        return {chosen.main_part: out}
    suffix = ending(chosen, options.compression)
    paths = {}
    for part in chosen.parts:
        main = part == chosen.main_part
        path = out if main else out.with_name(f"{out.name}.{part}.{suffix}")
        parts = pieces(version, chosen, part, options)
        first = next(parts, None)
        if first is None and not main:
            path.unlink(missing_ok=True)
            continue
        write_atomically(path, chain([first or b""], parts))
        paths[part] = path
    return paths


def write_atomically(path: Path, lines: Iterator[bytes]) -> None:
    """Write to a temporary name in the same folder, then rename: readers never see half."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial, lines)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, parts: Iterator[bytes]) -> str:
    """Write to the disk itself; returns the SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def write_folder(out: Path, files: Iterator[tuple[str, Iterator[bytes]]]) -> None:
    """Write a folder under a temporary name, then rename it. Raises FileExistsError."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(17, "it is there already, and a folder is written as a whole")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=False)
        for name, parts in files:
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, parts)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def archive(version: DatasetVersion, chosen: ExportFormat, options: Options) -> Iterator[bytes]:
    """Every part of a format, as one ZIP file."""
    suffix = ending(chosen, options.compression)
    left_out = set() if version.project.ai_votes_in_exports else {AI_VOTES}
    return zipped(
        (f"{part}.{suffix}", pieces(version, chosen, part, options))
        for part in chosen.parts
        if part not in left_out
    )
