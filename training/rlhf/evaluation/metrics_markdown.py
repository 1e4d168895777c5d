"""Metrics side by side as a Markdown table, of one run or of several. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Columns = Mapping[str, Mapping[str, float | None]]
"""Metrics by the name that stands above them."""


def metrics_table(columns: Columns) -> list[str]:
    """The lines of a Markdown table, one metric a row."""
    lines = [f"| {key} | {' | '.join(values)} |" for key, values in cells(columns)]
    return [f"| metric | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *lines]


def cells(columns: Columns) -> Iterator[tuple[str, list[str]]]:
    """Yield every metric with its value in each column, "" where a column lacks it."""
    for key in dict.fromkeys(key for metrics in columns.values() for key in metrics):
        yield key, [_figure(m[key]) if key in m else "" for m in columns.values()]


def _figure(value: float | None) -> str:
    return "not a number" if value is None else format(value, ".4g")
