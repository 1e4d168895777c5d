from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

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


@pytest.mark.parametrize("pretty", [None, 1, "\t"])
@pytest.mark.parametrize(
    ("document", "words"),
    [
        (ROWS, "JSON array"),
        ({"version": 1, "data": ROWS}, "JSON object with a list of rows"),
        ({"rows": ROWS, "features": {"x": [1]}}, "JSON object with a list of rows"),
        (COLUMNS, "JSON object with a list per column"),
        (WITH_INDEX, "JSON object with a list per column"),
    ],
)
def test_documents_of_json_give_their_rows(document, words, pretty):
    text = json.dumps(document, indent=pretty).encode()
    assert reading(text) == (words, [("", 1, ROWS[0]), ("", 2, ROWS[1])])
    assert reading(gzip.compress(text))[1] == [("", 1, ROWS[0]), ("", 2, ROWS[1])]


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
