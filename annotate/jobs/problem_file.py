"""The report of an import with all its problems, line by line, to take away."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from annotate.importing import Problem
from annotate.votes.formula_safe_csv import csv_line

COLUMNS = ("kind", "file", "unit", "line", "field", "reason", "value")


class ProblemFile:
    """Takes problems one by one and writes a line of JSON for each."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def __call__(self, kind: str, problem: Problem) -> None:
        json.dump({"kind": kind, **asdict(problem)}, self._file, ensure_ascii=False)
        self._file.write("\n")


@contextmanager
def problem_file(path: Path, *, holder: int) -> Iterator[ProblemFile]:
    """A file that is there under its name once it is whole. `holder` keeps two writers apart."""
    part = path.with_name(f"{path.name}.{holder}")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield ProblemFile(file)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def as_csv(path: Path) -> Iterator[bytes]:
    """The lines as CSV that a spreadsheet opens."""
    yield csv_line(COLUMNS)
    with path.open(encoding="utf-8") as file:
        for line in file:
            problem = json.loads(line)
            yield csv_line(problem[name] for name in COLUMNS)


def as_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
