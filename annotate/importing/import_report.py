"""Report of an import, row by row where it refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from annotate.importing.problems import Problem

KEPT = 1000
"""Problems kept in full; the rest are only counted, so that memory stays bounded."""
ADDED = ("prompts", "completions", "pairs", "annotators", "votes", "ratings")
KNOWN = {
    "merged": "comparisons joined with pairs that are there",
    "revised": "votes corrected",
    "summed_up": "verdicts on pairs whose votes are there, left out",
    "duplicates": "votes and ratings that are there already",
    "alike": "comparisons of equal texts that nobody judged, left out",
    "not_replaced": "values that stay as they were",
}
"""Counts of what was there, which are named only where there is something to count."""
LONGEST_VALUE = 200


def excerpt(value: Any, most: int = LONGEST_VALUE) -> str:
    """A value on one line, cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join(text[: 2 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


@dataclass
class Report:
    """Counts, and the problems of single rows; `sink` is told every one of these and its kind."""

    rows: int = 0
    accepted: int = 0
    n_refused: int = 0
    n_warnings: int = 0
    refused: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    added: Counter[str] = field(default_factory=Counter)
    written: bool = False
    sink: Callable[[str, Problem], None] | None = None

    def refuse(
        self,
        line: int,
        field_name: str,
        reason: str,
        file: str = "",
        unit: str = "line",
        value: str = "",
    ) -> None:
        self.n_refused += 1
        self._keep("refused", self.refused, Problem(line, field_name, reason, file, unit, value))

    def warn(
        self, line: int, field_name: str, reason: str, file: str = "", unit: str = "line"
    ) -> None:
        self.n_warnings += 1
        self._keep("warning", self.warnings, Problem(line, field_name, reason, file, unit))

    def _keep(self, kind: str, kept: list[Problem], problem: Problem) -> None:
        if len(kept) < KEPT:
            kept.append(problem)
        if self.sink is not None:
            self.sink(kind, problem)

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
            *((words, self.added[name]) for name, words in KNOWN.items() if self.added[name]),
        ]

    def added_in_words(self) -> str:
        """The kinds of which something was added, such as "40 prompts, 1 pair"."""
        some = [(self.added[name], name) for name in ADDED if self.added[name]]
        return (
            ", ".join(f"{n} {name if n != 1 else name[:-1]}" for n, name in some) or "nothing new"
        )

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
            "known": {name: self.added[name] for name in KNOWN},
            "problems": [asdict(problem) for problem in self.refused],
            "warned": [asdict(problem) for problem in self.warnings],
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Report:
        """The report that `as_dict` kept."""
        return cls(
            rows=kept["rows"],
            accepted=kept["accepted"],
            n_refused=kept["refused"],
            n_warnings=kept["warnings"],
            refused=[Problem(**one) for one in kept["problems"]],
            warnings=[Problem(**one) for one in kept["warned"]],
            added=Counter(kept["added"] | kept["known"]),
            written=kept["written"],
        )
