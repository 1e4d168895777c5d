"""Columns that a person named: found once for all rows with the same ones, and as row by row."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from annotate.importing.shapes.column_mapping import FIELDS, Mapped
from tests.annotate.importing.shapes.outcome import outcome

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


def test_a_winner_may_be_the_name_of_the_column_that_holds_the_reply() -> None:
    mapping = {"prompt": "src", "completion_a": "hyp1", "completion_b": "hyp2", "winner": "pref"}
    said = ["hyp1", "HYP2", "tie", "hyp2"]
    rows = [{"src": f"Q{n}", "hyp1": "one", "hyp2": "two", "pref": x} for n, x in enumerate(said)]
    read = outcome(rows, mapping=mapping)
    assert not read.refused
    assert read.winners == ["one", "two", "", "two"]
