"""What becomes of rows when a file of them is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from annotate.importing import Refused
from annotate.importing.imported_row import Comparison, Judgement, Row
from annotate.importing.shapes import Reading, reading


@dataclass
class Outcome:
    reading: Reading
    rows: list[Row]
    refused: list[Refused]

    @property
    def comparisons(self) -> list[tuple[Row, Comparison]]:
        return [(row, one) for row in self.rows for one in row.comparisons]

    @property
    def votes(self) -> list[Judgement]:
        return [vote for _, one in self.comparisons for vote in one.judgements]

    @property
    def prompts(self) -> set[str]:
        return {row.prompt_sha256 for row in self.rows}

    @property
    def completions(self) -> set[tuple[str, str]]:
        return {(row.prompt_sha256, one.sha256) for row in self.rows for one in row.replies}

    @property
    def winners(self) -> list[str]:
        """The text that each vote prefers; "" for a tie."""
        return [
            row.replies[one.a if vote.choice == "a" else one.b].text
            if len(vote.choice) == 1
            else ""
            for row, one in self.comparisons
            for vote in one.judgements
        ]

    @property
    def warnings(self) -> list[tuple[str, str]]:
        return [warning for row in self.rows for warning in row.warnings]


def outcome(
    raws: Iterable[Mapping[str, Any]], mapping: Mapping[str, str | list[str]] | None = None
) -> Outcome:
    """Read rows as an import does: a sample first, then each, then what waited for others."""
    raws = list(raws)
    read = reading(raws, mapping)
    rows: list[Row] = []
    refused: list[Refused] = []
    for raw in raws:
        try:
            rows += read.rows(raw)
        except Refused as error:
            refused.append(error)
    for one in read.rest():
        if isinstance(one, Refused):
            refused.append(one)
        else:
            rows.append(one)
    return Outcome(read, rows, refused)


def row_of(raw: Mapping[str, Any]) -> Row:
    """The one row that a row of a file makes. Raises Refused."""
    [row] = reading([raw]).rows(raw)
    return row
