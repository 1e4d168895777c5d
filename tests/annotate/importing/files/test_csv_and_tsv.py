from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.importing import Unreadable
from annotate.importing.files import opened
from tests.annotate.importing.files.reading import NAMES, ROWS, reading, rows


def table(content: list[dict[str, Any]], **dialect: Any) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(content[0]), lineterminator="\n", **dialect)
    writer.writeheader()
    writer.writerows(content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("delimiter", "words"),
    [
        (",", "CSV"),
        (";", "CSV with semicolons"),
        ("\t", "TSV"),
        ("|", "CSV with vertical bars"),
    ],
)
@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ", UTF-16"),
        ("utf-16-le", ", UTF-16"),
        ("utf-16-be", ", UTF-16"),
        ("utf-32", ", UTF-32"),
        ("cp1252", ", Windows-1252"),
    ],
)
def test_dialects_and_encodings_are_found_out(delimiter, words, encoding, told):
    text = table(ROWS, delimiter=delimiter).encode(encoding)
    # The first row goes over two lines.
    assert reading(text) == (words + told, [("", 2, ROWS[0]), ("", 4, ROWS[1])])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_letters_of_any_script_may_stand_in_utf_16_without_a_mark(encoding):
    text = "prompt,chosen,rejected\nWas heißt „Tee“? 一个 Ā,茶,水\n".encode(encoding)
    assert reading(text) == (
        "CSV, UTF-16",
        [("", 2, {"prompt": "Was heißt „Tee“? 一个 Ā", "chosen": "茶", "rejected": "水"})],
    )


def test_columns_are_known_before_the_first_row():
    with opened(io.BytesIO(table(ROWS).encode())) as source:
        assert source.columns == NAMES


def test_long_names_are_told_apart_by_their_ends():
    long = "Which is better, given all that was asked? " * 6
    text = table([dict(zip(NAMES, "abc", strict=True)) | {f"{long}1": "d", f"{long}2": "e"}])
    [row] = rows(text.encode())
    assert list(row.values()) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("prompt,x\x01,x\x02", r"two columns 'x\?'"),
        ("prompt,,Unnamed: 1", "two columns 'Unnamed: 1'"),
        ("prompt,a," + "x" * 2_000, "name has 2,000 characters; at most 1,000 are read"),
    ],
)
def test_a_header_that_would_lose_a_column_is_refused(header, message):
    with pytest.raises(Unreadable, match=message):
        rows(f"{header}\nQ,1,2\n".encode())


def test_windows_lines_and_old_macintosh_lines_are_lines():
    text = table(ROWS[1:])
    assert rows(text.replace("\n", "\r\n").encode()) == ROWS[1:]
    assert rows(text.replace("\n", "\r").encode()) == ROWS[1:]


@pytest.mark.parametrize("declared", ["sep=;\n", "sep=;\r\n", "SEP=;\n"])
def test_the_line_that_names_the_separator_for_excel_is_no_row(declared):
    text = declared + table(ROWS, delimiter=";")
    words, read = reading(text.encode("utf-8-sig"))
    assert (words, [row for *_, row in read]) == ("CSV with semicolons", ROWS)
    assert [number for _, number, _ in read] == [3, 5]


@pytest.mark.parametrize("questions", ["", "What was asked?,Which is better?\n"])
def test_the_rows_of_ids_and_questions_that_qualtrics_writes_are_no_rows(questions):
    ids = '"{""ImportId"":""QID1""}","{""ImportId"":""QID2_1""}"\n'
    text = f"prompt,winner\n{questions}{ids}How?,a\n".encode()
    words, lines = reading(text)
    assert words == f"CSV, its first {2 + bool(questions)} rows a header"
    assert [row for *_, row in lines] == [{"prompt": "How?", "winner": "a"}]


def test_an_empty_cell_is_null_and_a_formula_is_text():
    text = "prompt,x,y\n=HYPERLINK(1),,@SUM\n"
    assert rows(text.encode()) == [{"prompt": "=HYPERLINK(1)", "x": None, "y": "@SUM"}]


def test_an_index_without_a_name_is_a_column_as_pandas_calls_it():
    assert rows(b",prompt\n0,Hi\n") == [{"Unnamed: 0": "0", "prompt": "Hi"}]


def test_quotes_escaped_by_backslashes_and_texts_that_quote_without_quoting_are_read():
    assert rows(b'prompt,x\n"say \\"hi\\", now",y\n') == [{"prompt": 'say "hi", now', "x": "y"}]
    unquoted = b'prompt\tx\n"Well," he said\ty\n"No," she said\tz\n'
    assert rows(unquoted) == [
        {"prompt": '"Well," he said', "x": "y"},
        {"prompt": '"No," she said', "x": "z"},
    ]


def test_a_table_of_one_column_needs_a_name_that_is_one():
    assert rows(b"prompt\nHello, you\nBye\n") == [{"prompt": "Hello, you"}, {"prompt": "Bye"}]
    text = b"To be asked\nHello\n"
    assert rows(text, name="x.csv") == [{"To be asked": "Hello"}]
    with pytest.raises(Unreadable, match="no table either"):
        rows(text)


def test_a_bad_row_is_refused_by_its_line_and_the_others_read():
    text = b'a,b\n1,2,3\nx,y\np,"q" r\n\nz,w\n"never\nclosed,1\n'
    assert reading(text, name="x.csv")[1] == [
        ("", 2, "cells: 3; the header names 2 columns"),
        ("", 3, {"a": "x", "b": "y"}),
        ("", 4, "a quote stands within a cell; quotes in quoted cells are doubled"),
        ("", 6, {"a": "z", "b": "w"}),
        ("", 7, "a quote is opened and never closed"),
    ]


def test_bytes_that_are_no_text_are_refused_by_column():
    good = "a,b\né,x\n".encode()
    assert rows(good + b"y,\xe9\nx\x00,y\nz,w\n", name="x.csv")[1:] == [
        "b: not UTF-8: byte 0xe9",
        "a: a text holds a NUL character",
        {"a": "z", "b": "w"},
    ]


def test_accents_far_down_still_tell_the_encoding():
    plain = b"a,b\n" + (b"x," + b"y" * 200 + b"\n") * 2_000
    assert rows(plain + "é,ü\n".encode("cp1252"))[-1] == {"a": "é", "b": "ü"}
    assert rows(plain + "é,ü\n".encode())[-1] == {"a": "é", "b": "ü"}


NOISE = bytes(b | 128 if b % 20 else 44 for b in random.Random(1).randbytes(3000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"What is 2?,4,5\nWhat is 3?,5,6\n", "first row has to name the columns.*'4'"),
        (b"w1\thttp://a.b\tP\nw1\thttp://c.d\tG\n", "first row has to name the columns"),
        (b"a,b,a\n1,2,3\n", "names two columns 'a'"),
        (b",".join(b"c%d" % i for i in range(10_000)) + b"\nx\n", "names 10,000 columns"),
        (b"a,b\n" + NOISE, r"neither UTF-8 nor in another encoding.*position \d+"),
        (b"Dear all,\nthis is a letter.\nYours\n", "no table either.*'Dear all,"),
        (b'a,b\n"' + b"x" * 5_000_000, "line 2 is never closed"),
        (b'a,b\n"' + b"x,y\n" * 1_600_000, "line 2 goes on for more than .*quote missing"),
    ],
)
def test_a_text_that_is_no_table_is_refused_in_a_sentence(text, message):
    with pytest.raises(Unreadable, match=message):
        rows(text)


@pytest.mark.parametrize(
    "cell", [b"x" * 5_000_000, b'"' + b'x""' * 100 + b"\n" + b'y""' * 1_500_000 + b'"']
)
def test_a_cell_of_megabytes_costs_its_row_alone(cell):
    text = b"a,b\n1,2\n" + cell + b",2\n3,4\n"
    assert rows(text) == [
        {"a": "1", "b": "2"},
        "the row is longer than 4,000,000 characters",
        {"a": "3", "b": "4"},
    ]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
)
def test_whatever_csv_writes_is_read_as_it_was(cells, delimiter):
    content = [dict(zip(NAMES, row, strict=True)) for row in cells]
    text = table(content, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    assert rows(text.encode(), name="x.csv") == json.loads(json.dumps(content))
