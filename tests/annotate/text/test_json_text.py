from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.text import json_text
from annotate.text.json_text import entries, pretty
from annotate.text.markdown import MAX_BYTES

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def test_a_text_that_is_json_is_indented_and_any_other_stays() -> None:
    assert pretty('{"place":"Bergen","days":[1]}') == (
        '{\n  "place": "Bergen",\n  "days": [\n    1\n  ]\n}'
    )
    for text in ("place=Bergen", '"quoted"', "12", '{"place": ', "[NaN", ""):
        assert pretty(text) == text


def test_a_name_that_stands_twice_keeps_both_values() -> None:
    text = '{"to": "ann", "to": "eve"}'
    assert pretty(text) == text


@given(VALUES)
def test_a_value_reads_back_as_what_it_was(value: Any) -> None:
    text = pretty(value)
    if not isinstance(value, str) and "⟦" not in text:
        assert json.loads(text) == value


@pytest.mark.parametrize("levels", [json_text.DEEPEST + 5, 300])
def test_deep_nesting_is_not_blown_up_by_indentation(levels: int) -> None:
    value = nested(levels)
    assert pretty(value) == json.dumps(value) == pretty(json.dumps(value))


def test_nesting_that_python_cannot_read_stays_text() -> None:
    text = "[" * 50_000
    assert pretty(text) == text


def test_a_long_text_is_cut_and_invisible_characters_are_written_out() -> None:
    assert len(pretty("x" * 2 * MAX_BYTES)) == MAX_BYTES + 1
    assert pretty({"a": "b\u202ec"}) == '{\n  "a": "b⟦U+202E⟧c"\n}'


def test_entries_keep_order_and_put_long_and_nested_values_in_blocks() -> None:
    values = {"b": 1, "a": None, "text": "x" * 200, "list": [1], "empty": {}}
    shown = entries(values)
    assert [(one.name, one.block) for one in shown] == [
        ("b", False),
        ("a", False),
        ("text", True),
        ("list", True),
        ("empty", False),
    ]
    assert [one.text for one in shown[:2]] == ["1", "null"] and shown[4].text == "{}"


def test_of_many_entries_the_rest_is_counted() -> None:
    shown = entries({str(n): n for n in range(json_text.MOST_ENTRIES + 3)})
    assert len(shown) == json_text.MOST_ENTRIES + 1 and shown[-1].name == "3 more"
