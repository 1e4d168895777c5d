"""Columns that a person named: found once for all rows with the same ones, and as row by row."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from annotate.importing.shapes.mapping import FIELDS, Mapped

NAMES = st.sampled_from(["prompt", "Prompt", "winner", "q", "Q", "chosen", "who", "a b", "model_a"])
CHOSEN = st.dictionaries(st.sampled_from(list(FIELDS)[:12]), st.lists(NAMES, max_size=3))
ROWS = st.lists(st.dictionaries(NAMES, st.integers()), min_size=1, max_size=4)


@given(CHOSEN, ROWS)
def test_rows_come_out_as_if_each_were_the_only_one(
    chosen: dict[str, list[str]], rows: list[dict[str, Any]]
) -> None:
    mapped = Mapped(chosen)
    for row in [*rows, *rows]:
        taken, columns = mapped.applied(row)
        alone = Mapped(chosen).moved(row)
        assert (list(taken.items()), columns) == (list(alone[0].items()), alone[1])
