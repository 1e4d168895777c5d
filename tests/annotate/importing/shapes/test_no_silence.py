"""Columns renamed, dropped and added at random: nothing of a row is lost without a word."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.importing.imported_row import Row
from annotate.importing.shapes import answers
from tests.annotate.importing.shapes.examples import EXAMPLES
from tests.annotate.importing.shapes.outcome import outcome

NAMES = st.one_of(
    st.sampled_from(
        sorted({name for one in EXAMPLES.values() for row in one.rows for name in row})
    ),
    st.text("abcdeginoprstwABC_12 -.", min_size=1, max_size=16),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.text(max_size=30),
    st.lists(st.text(max_size=9), max_size=3),
    st.dictionaries(st.text("abc", max_size=3), st.integers(0, 3), max_size=2),
)


SAID_OTHERWISE = {"Human", "Assistant", "bothbad"}
"""Words that are read as what they mean: who speaks, and who won."""


def words(value: Any) -> Iterator[str]:
    """The words of the texts in a value: of those of several words that are no JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from words(one)
    elif isinstance(value, str) and " " in value.strip() and value[:1] not in "[{":
        yield from (word for word in re.findall(r"[A-Za-z]{4,}", value))


def told(row: Row) -> str:
    """Everything that a row says, as one text."""
    whole = json.dumps(
        row, default=lambda one: getattr(one, "__dict__", str(one)), ensure_ascii=False
    )
    # A word at the beginning of a line is not one with an n before it.
    return whole.replace("\\n", " ")


@st.composite
def changed(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The rows of a shape with some columns dropped, renamed and added, in all rows alike."""
    rows = EXAMPLES[draw(st.sampled_from(sorted(EXAMPLES)))].rows
    names = sorted({name for row in rows for name in row})
    dropped = draw(st.sets(st.sampled_from(names), max_size=2))
    renamed = draw(st.dictionaries(st.sampled_from(names), NAMES, max_size=3))
    added = draw(st.dictionaries(NAMES, VALUES, max_size=3))
    return [
        added | {renamed.get(k, k): value for k, value in row.items() if k not in dropped}
        for row in rows
    ]


QUICK = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
THOROUGH = settings(QUICK, max_examples=4000)


@QUICK
@given(changed())
def test_every_column_is_used_kept_asked_about_or_named_or_its_row_refused(rows):
    check_columns(rows)


@pytest.mark.long
@THOROUGH
@given(changed())
def test_four_thousand_times_every_column_is_accounted_for(rows):
    check_columns(rows)


def check_columns(rows: list[dict[str, Any]]) -> None:
    read = outcome(rows)
    columns = read.reading.columns
    asked = {one.column for one in read.reading.questions}
    for row in rows:
        for name, value in row.items():
            if value is not None and value != "":
                assert name in columns or name in asked
    if read.reading.questions and not read.rows:
        assert read.refused
    for name, column in columns.items():
        assert column.use and column.rows <= 2 * len(rows), name


@QUICK
@given(changed())
def test_the_words_of_an_accepted_row_are_found_in_what_it_became(rows):
    check_words(rows)


@pytest.mark.long
@THOROUGH
@given(changed())
def test_four_thousand_times_no_word_is_lost(rows):
    check_words(rows)


def check_words(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        read = outcome([row])
        if read.refused or not read.rows:
            continue
        everything = "".join(map(told, read.rows))
        warned = {field for field, _ in read.warnings}
        for name, value in row.items():
            lost = set(words(value)) - SAID_OTHERWISE - set(re.findall("[A-Za-z]+", everything))
            assert not lost or name in warned, (name, read.reading.shape)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(-9, 9), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything inside a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from places(one, (*path, key))


@st.composite
def spoiled(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The rows of a shape with other values at one or two places, at any depth."""
    rows: list[dict[str, Any]] = copy.deepcopy(
        EXAMPLES[draw(st.sampled_from(sorted(EXAMPLES)))].rows
    )
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from([one for one in places(rows) if len(one) > 1]))
        inside: Any = rows
        for key in path:
            inside = inside[key]
        inside[last] = draw(JSON)
        if not isinstance(inside[last], dict | list):
            continue
        break
    return rows


@QUICK
@given(spoiled())
def test_a_value_of_any_kind_is_read_or_refused(rows):
    check_values(rows)


@pytest.mark.long
@THOROUGH
@given(spoiled())
def test_four_thousand_times_a_value_is_read_or_refused(rows):
    check_values(rows)


def check_values(rows: list[dict[str, Any]]) -> None:
    read = outcome(rows)
    assert read.rows or read.refused
    for row in read.rows:
        assert row.messages and all(isinstance(one["content"], str) for one in row.messages)
        json.dumps(told(row))


PROMPT_NAMES = ("prompt", "question", "text", "user_message", "source", "aufgabe", "col1")
BETTER_AND_WORSE = (
    *(("better_answer", "worse_answer"), ("winner_text", "loser_text"), ("y_w", "y_l")),
    *(("preferred_output", "rejected_output"), ("bestReply", "worstReply"), ("good", "bad")),
    *(("positive", "negative"), ("response w", "response l"), ("accepted", "refused")),
)
SIDES = (
    *(("option_1", "option_2"), ("sys_a_out", "sys_b_out"), ("gpt4", "claude"), ("A", "B")),
    *(("first", "second"), ("hyp1", "hyp2"), ("links", "rechts"), ("col2", "col3")),
)
JUDGEMENTS = (
    *(("human_pref", ("A", "B")), ("pick", ("first", "second")), ("judgment", ("left", "right"))),
    *(("urteil", ("b", "a")), ("better", (1, 2)), ("vote", ("tie", "A")), ("note", None)),
)


@QUICK
@given(
    st.sampled_from(PROMPT_NAMES),
    st.sampled_from(BETTER_AND_WORSE + SIDES),
    st.sampled_from(JUDGEMENTS),
    st.integers(1, 9),
    st.permutations(range(4)),
)
def test_a_pair_under_other_names_is_read_with_its_vote_or_asked_about(
    prompt, ends, judgement, n, order
):
    """Until everything is answered nothing is read; answered with yes, every row is a pair."""
    name, values = judgement
    rows = []
    for i in range(n):
        row = {
            prompt: f"What of number {i} of these?",
            ends[0]: f"It is {i} of them.",
            ends[1]: f"That makes {i} too many.",
        }
        if ends in SIDES and values:
            row[name] = values[i % 2]
        rows.append({one: row[one] for one in sorted(row, key=lambda x: order[[*row].index(x)])})
    mapping: dict[str, list[str]] = {}
    for _ in range(3):
        read = outcome(rows, mapping)
        if not read.reading.questions:
            break
        assert not read.rows and len(read.refused) == n
        for field, columns in answers(read.reading.questions).items():
            mapping.setdefault(field, []).extend(columns)
    assert not read.refused and len(read.comparisons) == n, (mapping, read.refused)
    judged = ends in BETTER_AND_WORSE or (values and (n > 1 or not isinstance(values[0], int)))
    if judged:
        assert len(read.votes) == n
