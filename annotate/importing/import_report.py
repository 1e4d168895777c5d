"""Report of an import, row by row where it refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from annotate.importing.problems import Problem

KEPT = 1000
"""Problems kept in full; the rest are only counted, so that memory stays bounded."""
ADDED = ("prompts", "completions", "pairs", "annotators", "votes")


@dataclass
class Report:
    rows: int = 0
    accepted: int = 0
    n_refused: int = 0
    n_warnings: int = 0
    refused: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    added: Counter[str] = field(default_factory=Counter)
    written: bool = False

    def refuse(
        self, line: int, field_name: str, reason: str, file: str = "", unit: str = "line"
    ) -> None:
        self.n_refused += 1
        if len(self.refused) < KEPT:
            self.refused.append(Problem(line, field_name, reason, file, unit))

    def warn(
        self, line: int, field_name: str, reason: str, file: str = "", unit: str = "line"
    ) -> None:
        self.n_warnings += 1
        if len(self.warnings) < KEPT:
            self.warnings.append(Problem(line, field_name, reason, file, unit))

    @property
    def verdict(self) -> str:
        """A sentence on the file when rows were refused; empty when none were."""
        if not self.n_refused:
            return ""
        rows = "1 row was" if self.n_refused == 1 else f"{self.n_refused:,} rows were"
        others = "the others are imported" if self.written else "nothing was imported"
        return f"{rows} refused; {others}."

    def figures(self) -> list[tuple[str, int]]:
        """The rows of the table: what was read, what came of it."""
        verb = "added" if self.written else "to add"
        return [
            ("rows read", self.rows),
            ("rows accepted", self.accepted),
            ("rows refused", self.n_refused),
            ("warnings", self.n_warnings),
            *((f"{name} {verb}", self.added[name]) for name in ADDED),
        ]

    def table(self) -> str:
        """The report as text for a terminal."""
        lines = [f"{name:<22}{count:>10,}" for name, count in self.figures()]
        for title, problems, n in (
            ("Refused", self.refused, self.n_refused),
            ("Warnings", self.warnings, self.n_warnings),
        ):
            if problems:
                lines += ["", f"{title}:", *(f"  {problem}" for problem in problems[:50])]
            if n > 50:
                lines.append(f"  ... and {n - 50:,} more")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The report as the REST API returns it."""
        return {
            "written": self.written,
            "rows": self.rows,
            "accepted": self.accepted,
            "refused": self.n_refused,
            "warnings": self.n_warnings,
            "added": {name: self.added[name] for name in ADDED},
            "problems": [problem.__dict__ for problem in self.refused],
        }
