from __future__ import annotations

import contextlib
import gzip
import io
import json
import time
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.importing import Unreadable
from annotate.importing.files import opened
from annotate.importing.files.strict_json import parse
from tests.annotate.importing.files.reading import NAMES, ROWS, reading, rows


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "Hi"', "not valid JSON"),
        (b'["prompt"]', "not a JSON object"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8: byte 0xe9 at position 16"),
        (b'{"prompt": "a", "margin": NaN}', "margin: NaN is not JSON"),
        (b'{"prompt": "a", "scores": [1, -Infinity]}', "scores: -Infinity is not JSON"),
        (b'{"margin": 1e999}', "margin: 1e999 is not JSON"),
        (b'{"prompt": "a", "prompt": "b"}', "prompt: the key occurs twice"),
        (b'{"prompt": "a\\u0000b"}', "prompt: a text holds a NUL"),
        (b'{"prompt": "a\x00b"}', "not valid JSON"),
        (b'{"prompt": "\\ud800"}', "prompt: a text holds half a surrogate pair"),
        (b'{"\\uDC00": 1}', "half a surrogate pair"),
        (b'{"prompt": ' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 32"),
        (b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "deeper than 32"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (json.dumps({f"c{i}": i for i in range(10_000)}).encode(), "holds 10,000 columns"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_column_and_the_next_one_read(line, reason):
    lines = reading(b'{"prompt": "first"}\n' + line + b'\n\n{"prompt": "last"}')[1]
    assert [number for _, number, _ in lines] == [1, 2, 4]
    assert reason in lines[1][2]
    assert lines[2][2] == {"prompt": "last"}
    if line.count(b"{") == line.count(b"}"):
        array = reading(b'[{"prompt": "first"},' + line + b',{"prompt": "last"}]')[1]
        assert [number for _, number, _ in array] == [1, 2, 3]
        assert reason.replace("at position 16", "") in array[1][2]
        assert array[2][2] == {"prompt": "last"}


class Counting(io.BytesIO):
    """Remembers the longest piece anybody asked for."""

    longest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.longest = max(self.longest, len(piece))
        return piece


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        # Counting each key among all others takes the square of their number.
        ("{" + ",".join(f'"{i}":1' for i in [*range(40_000), 39_999]) + "}", "key occurs twice"),
        ('{"' + "k" * 3_000_000 + '": 1}', "name has 3,000,000 characters; at most 1,000"),
        ('{"n": ' + "9" * 5_000 + "}", "a number of more than 4,000 digits"),
    ],
)
def test_a_row_that_is_slow_to_look_at_is_refused_soon(line, reason):
    begun = time.process_time()
    first, _, last = rows(b"\n".join([b'{"prompt": "Q"}', line.encode(), b'{"prompt": "Q"}']))
    assert first == last and time.process_time() - begun < 4
    assert reason in rows(line.encode() + b"\n{}")[0]


def test_a_10_mb_row_is_refused_without_reading_it_whole():

    huge = b'{"prompt": "' + b"x" * 10_000_000 + b'"}'
    file = Counting(huge + b"\n" + b'{"prompt": "next"}')
    with opened(file) as source:
        lines = list(source.rows())
    assert "longer than 4,000,000 bytes" in str(lines[0][1])
    assert lines[1] == (("", 2), {"prompt": "next"})
    assert file.longest <= 4_100_000
    many = b"[" + b'{"prompt": "' + b'x", "y": "' * 1_000_000 + b'"}, {"prompt": "next"}]'
    assert rows(many) == ["the row is longer than 4,000,000 bytes", {"prompt": "next"}]


def test_a_byte_order_mark_windows_lines_and_gzip_are_fine():
    plain = b'\xef\xbb\xbf{"prompt": "one"}\r\n{"prompt": "two"}\r\n'
    expected = [("", 1, {"prompt": "one"}), ("", 2, {"prompt": "two"})]
    assert reading(plain) == ("JSON lines", expected)
    assert reading(gzip.compress(plain)) == ("JSON lines, in gzip", expected)


def test_ordinary_text_with_escapes_survives():
    assert parse(json.dumps({"prompt": "caf\u00e9 \U0001f600"})) == {"prompt": "café 😀"}


COLUMNS = {name: [row[name] for row in ROWS] for name in NAMES}
WITH_INDEX = {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in NAMES}


LISTS = [[row[name] for name in NAMES] for row in ROWS]
SPLIT = {"columns": NAMES, "index": [0, 1], "data": LISTS}


@pytest.mark.parametrize("pretty", [None, 1, "\t"])
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (ROWS, "JSON array"),
        ({"version": 1, "data": ROWS}, "JSON object with a list of rows"),
        ({"rows": ROWS, "features": {"x": [1]}}, "JSON object with a list of rows"),
        (COLUMNS, "JSON object with a list per column"),
        (WITH_INDEX, "JSON object with a list per column"),
        (SPLIT, "JSON table"),
        ({"columns": NAMES, "data": LISTS, "ncols": 3}, "JSON table"),
        ([NAMES, *LISTS], "JSON table"),
        ({"meta": {}, "result": {"page": 1, "items": ROWS}}, "JSON object with a list of rows"),
        ({"version": 1, "pairs": ROWS}, "JSON object with a list of rows"),
        ({"data": {"entries": ROWS}}, "JSON object with a list of rows"),
    ],
)
def test_documents_of_json_give_their_rows(document, words, pretty):
    text = json.dumps(document, indent=pretty).encode()
    assert reading(text) == (words, [("", 1, ROWS[0]), ("", 2, ROWS[1])])
    assert reading(gzip.compress(text))[1] == [("", 1, ROWS[0]), ("", 2, ROWS[1])]


@pytest.mark.parametrize("pretty", [None, 1])
def test_an_object_of_very_many_columns_is_one_row_that_is_refused(pretty):
    many = {f"k{i}": i for i in range(1_500)}
    for document in (many, many | {"columns": NAMES, "data": LISTS}, many | {"rows": ROWS}):
        _, read = reading(json.dumps(document, indent=pretty).encode())
        [(_, _, refused)] = read
        assert "columns; at most 1,000 are read" in str(refused)


@pytest.mark.parametrize("indent", [None, 1])
def test_rows_under_keys_are_rows_that_know_their_key(indent):
    row = {"prompt": "Hi?", "n": 1}
    document = {"q-1": row, "q-2": row | {"n": 2}, "q-3": row | {"key": "own", "more": None}}
    words, read = reading(json.dumps(document, indent=indent).encode())
    assert words == "JSON object of rows"
    keys = [("", 1, "q-1"), ("", 2, "q-2"), ("", 3, "own")]
    assert [(file, number, one["key"]) for file, number, one in read] == keys
    assert [one["n"] for *_, one in read] == [1, 2, 1]


def test_rows_of_the_viewer_stand_beside_their_number():
    document = {"features": [], "rows": [{"row_idx": 7, "row": {"prompt": "Hi?"}, "cut": []}]}
    assert rows(json.dumps(document).encode()) == [{"prompt": "Hi?", "row_idx": 7}]


def test_splits_of_one_document_are_told_apart():
    text = json.dumps({"train": ROWS, "test": ROWS[:1]}).encode()
    assert reading(text)[1] == [
        *(("train", 1, ROWS[0]), ("train", 2, ROWS[1])),
        ("test", 1, ROWS[0]),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "a", "content": "x"}]},
        {"prompt": "Hi", "completions": ["a", "b"]},
        {"id": 1, "data": {"prompt": "Hi"}},
        {},
    ],
)
def test_a_single_object_is_a_row_on_one_line_and_on_several(row: dict[str, Any]):
    assert rows(json.dumps(row).encode()) == [row]
    assert rows(json.dumps(row, indent=2).encode()) == [row]
    assert rows("\n".join([json.dumps(row, indent=2)] * 3).encode()) == [row] * 3
    assert rows("\n".join([json.dumps(row)] * 3).encode()) == [row] * 3


def test_a_single_line_that_is_broken_is_a_line():
    assert "not valid JSON" in rows(b'{"prompt": "x')[0]
    assert "not valid JSON" in rows(b'{"prompt": x}\n')[0]


def test_a_first_line_that_is_broken_does_not_hide_that_these_are_lines():
    words, lines = reading(b'{"prompt": "x"\n{"prompt": "y"}\n')
    assert words == "JSON lines"
    assert "not valid JSON" in lines[0][2] and lines[1][2] == {"prompt": "y"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'[{"a": 1}, {"b": ', "Row 2 goes on where the file ends"),
        (b'[{"a": 1}', "After row 1.* is expected"),
        (b'[{"a": 1} {"b": 2}]', "After row 1, byte 10: , or ] is expected"),
        (b'[{"a": 1}] {"b": 2}', "ends at byte 11, and more follows"),
        (b'[{"a": 1},]', "Row 2.*value is expected"),
        (b'[{"a": ' + b"[" * 200_000, "Row 1.*100,001 brackets and more"),
        (b'[{"a": "' + b"x" * 11_000_000, "longer than 10,000,000 bytes"),
    ],
)
def test_a_document_that_cannot_be_read_on_is_refused_with_the_place(text, message):
    with pytest.raises(Unreadable, match=message):
        rows(text)


def test_strings_hold_brackets_quotes_and_escapes_wherever_the_pieces_end():
    row = {"prompt": '\\"]}[{' * 7, "é": "\\", "x": [{"y": '"'}, "]", []]}
    many = [row | {"n": number, "pad": "x" * (number % 97)} for number in range(3_000)]
    assert rows(json.dumps(many).encode()) == many
    assert rows(json.dumps(many, ensure_ascii=False, indent=1).encode()) == many


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
FRAMES = st.lists(
    st.fixed_dictionaries({"prompt": TEXT, "chosen": TEXT, "margin": st.integers(-9, 9)}),
    min_size=1,
    max_size=7,
)
NAMES_OF_ROWS = st.lists(st.from_regex("[p-z]{1,5}-[0-9]{1,3}", fullmatch=True), unique=True)


@settings(max_examples=60, deadline=None)
@given(
    FRAMES,
    NAMES_OF_ROWS,
    st.sampled_from(["records", "split", "index", "columns", "table", "lines"]),
    st.sampled_from([None, 2]),
)
def test_a_table_of_pandas_is_read_in_each_of_its_orientations(frame, names, orient, indent):
    """Where its rows have names of their own, these stay."""
    named = len(names) >= len(frame) and orient not in ("records", "lines")
    table = pandas.DataFrame(frame, index=names[: len(frame)] if named else None)
    if orient == "lines":
        text = table.to_json(orient="records", lines=True)
    else:
        text = table.to_json(orient=orient, indent=indent)
    read = rows(text.encode())
    own = "index" if orient == "table" else "key"
    assert [{name: row[name] for name in frame[0]} for row in read] == frame
    if named:
        assert [row[own] for row in read] == names[: len(frame)]


def test_rows_that_are_lists_of_values_need_names():
    for document in (LISTS, [["a long text of some words", 1], ["b", 2]]):
        with pytest.raises(Unreadable, match="without the names of their columns"):
            rows(json.dumps(document).encode())
    short = rows(json.dumps([NAMES, LISTS[0][:2], *LISTS]).encode())
    assert short == ["values: 2; the table names 3 columns", *ROWS]
    assert [row.get("key") for row in rows(json.dumps(SPLIT | {"index": ["x"]}).encode())] == [
        *("x", None)
    ]
    with pytest.raises(Unreadable, match="two columns 'prompt'"):
        rows(json.dumps({"columns": ["prompt", "prompt"], "data": [[1, 2]]}).encode())
    with pytest.raises(Unreadable, match="names 10,000 columns"):
        rows(json.dumps({"columns": [f"c{n}" for n in range(10_000)], "data": [[1]]}).encode())


def test_rows_of_elasticsearch_stand_beside_their_index():
    hit = {"_index": "a", "_id": "7", "_score": 1.0, "_source": ROWS[0]}
    expected = [{"_index": "a", "_id": "7", "_score": 1.0, **ROWS[0]}]
    assert rows(json.dumps(hit).encode()) == expected
    answer = {"took": 3, "hits": {"total": {"value": 1}, "hits": [hit]}}
    assert rows(json.dumps(answer).encode()) == expected


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "comparisons": [{"a": 1}]},
        {"id": 1, "data": {"items": [{"html": "x"}]}, "annotations": [{"result": []}]},
        {"request": {"contents": [{"role": "user"}]}, "response": {"candidates": [{"x": 1}]}},
        {"prompt": {"role": "user", "content": "Hi"}, "chosen": {"role": "a", "content": "x"}},
        {"instruction": "Do", "tasks": [{"a": 1}, {"a": 2}]},
    ],
)
def test_objects_within_a_row_are_no_rows(row):
    assert rows(json.dumps(row).encode()) == [row]
    assert rows(json.dumps(row, indent=2).encode()) == [row]


def test_deep_brackets_where_names_are_looked_for_are_refused():
    for text in (b"[" * 90_000 + b"]" * 90_000, b'{"columns": ' + b"[" * 90_000 + b"]" * 90_000):
        with contextlib.suppress(Unreadable):
            assert all(isinstance(one, str) for one in rows(text))
