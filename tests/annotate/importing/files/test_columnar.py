from __future__ import annotations

import datetime
import decimal
import gzip
import io
import struct
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate.importing import Unreadable
from annotate.importing.files import opened
from tests.annotate.importing.files.reading import NAMES, ROWS, reading, rows

TABLE = pa.Table.from_pylist(ROWS)
CHATS = [
    {"prompt": [{"role": "user", "content": f"Q{i}"}] * (i % 3), "n": i, "tags": ["x"] * (i % 2)}
    for i in range(3_000)
]


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def arrow(table: pa.Table, *, file: bool = False, compression: str | None = None) -> bytes:
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(out, table.schema, options=options) as writer:
        writer.write_table(table)
    return out.getvalue()


FILES = {
    "Parquet": parquet(TABLE),
    "Arrow stream": arrow(TABLE),
    "Arrow file": arrow(TABLE, file=True),
}


@pytest.mark.parametrize("words", FILES)
def test_tables_give_their_rows_and_their_columns(words):
    content = FILES[words]
    expected = [("", 1, ROWS[0]), ("", 2, ROWS[1])]
    assert reading(content) == (words, expected)
    assert reading(gzip.compress(content)) == (f"{words}, in gzip", expected)
    with opened(io.BytesIO(content)) as source:
        assert source.columns == NAMES


@pytest.mark.parametrize(
    "content",
    [
        parquet(pa.Table.from_pylist(CHATS)),
        parquet(pa.Table.from_pylist(CHATS), row_group_size=700, data_page_size=500),
        parquet(pa.Table.from_pylist(CHATS), data_page_version="2.0", compression="zstd"),
        parquet(pa.Table.from_pylist(CHATS), use_dictionary=False, compression="gzip"),
        parquet(pa.Table.from_pylist(CHATS), compression="none"),
        arrow(pa.Table.from_pylist(CHATS)),
        arrow(pa.Table.from_pylist(CHATS), file=True, compression="lz4"),
        arrow(pa.Table.from_pylist(CHATS), compression="zstd"),
        arrow(pa.Table.from_pylist([{}, *CHATS], schema=pa.Table.from_pylist(CHATS).schema)[1:]),
    ],
)
def test_chats_come_out_as_they_were_however_they_are_kept(content):
    assert rows(content) == CHATS


@pytest.mark.parametrize("make", [parquet, arrow])
def test_a_table_may_have_columns_and_no_rows(make):
    empty = TABLE.slice(0, 0)
    assert rows(make(empty)) == []
    assert rows(zipped({"train.parquet": make(TABLE), "test.parquet": make(empty)})) == ROWS


def test_values_become_plain_json():
    noon = datetime.datetime(2020, 1, 2, 12, 0, 0, 250_000)
    columns: dict[str, tuple[Any, Any]] = {
        "naive": (pa.array([noon]), "2020-01-02T12:00:00.250000"),
        "zoned": (
            pa.array([noon], pa.timestamp("ns", "Europe/Berlin")),
            "2020-01-02T12:00:00.250000+00:00",
        ),
        "day": (pa.array([noon.date()]), "2020-01-02"),
        "hour": (pa.array([noon.time()]), "12:00:00.250000"),
        "took": (pa.array([datetime.timedelta(seconds=1.5)]), 1.5),
        "price": (pa.array([decimal.Decimal("1.50")]), 1.5),
        "count": (pa.array([decimal.Decimal(3)]), 3),
        "bytes": (pa.array([b"\xff\x00"]), "/wA="),
        "old_text": (pa.array(["é".encode()]), "é"),
        "labels": (pa.array(["win"]).dictionary_encode(), "win"),
        "half": (pa.array([1.5], pa.float16()), 1.5),
        "nan": (pa.array([float("nan")]), None),
        "padded": (pa.array([{"role": "user", "tool_calls": None}]),) * 2,
        "fixed": (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), [1, 2]),
        "map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), {"k": 1}),
        "nothing": (pa.nulls(1), None),
    }
    columns["padded"] = (columns["padded"][0], {"role": "user", "tool_calls": None})
    table = pa.table({name: array for name, (array, _) in columns.items()})
    expected = [{name: value for name, (_, value) in columns.items()}]
    assert rows(parquet(table)) == expected
    assert rows(arrow(table)) == expected
    later = pa.concat_tables([table, table]).combine_chunks().slice(1)
    assert rows(arrow(later)) == expected


def test_a_bad_value_costs_its_row_alone_and_is_named_by_its_column():
    bad = pa.array([b"ok", b"caf\xe9", b"c"]).view(pa.string())
    table = pa.table(
        {
            "score": [1.0, 2.0, float("inf")],
            "text": bad,
            "chat": [[{"content": "a\x00"}], [], []],
        }
    )
    assert rows(parquet(table)) == [
        "chat: a text holds a NUL character",
        "text: not UTF-8: byte 0xe9 at position 4",
        "score: inf is no number",
    ]
    far = pa.table({"when": pa.array([10**18, 0], pa.timestamp("s"))})
    assert rows(arrow(far)) == [
        "when: a time beyond the years 1 to 9999",
        {"when": "1970-01-01T00:00:00"},
    ]


def test_a_row_of_megabytes_is_refused_and_the_others_read():
    table = pa.table({"prompt": ["a", "x" * 5_000_000, "b"]})
    expected = [{"prompt": "a"}, "the row is longer than 4,000,000 bytes", {"prompt": "b"}]
    assert rows(parquet(table)) == expected
    assert rows(arrow(table)) == expected
    huge = pa.table({"prompt": ["x" * 20_000_000, "b"]})
    assert rows(arrow(huge)) == expected[1:]


MEGABYTES = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), ["x" * 1_000_000])
IN_ONE_ROW = pa.ListArray.from_arrays([0, 300], MEGABYTES)
IN_OBJECTS = pa.ListArray.from_arrays(
    [0, 300], pa.StructArray.from_arrays([MEGABYTES], ["content"])
)


@pytest.mark.parametrize("column", [MEGABYTES, IN_ONE_ROW, IN_OBJECTS])
def test_a_megabyte_that_a_dictionary_repeats_takes_a_megabyte(column):
    content = parquet(pa.table({"prompt": column}), store_schema=False)
    assert len(content) < 100_000
    with opened(io.BytesIO(content)) as source:
        read, most = 0, 0
        for _, row in source.rows():
            read, most = read + 1, max(most, pa.total_allocated_bytes())
            if len(column) == 1:
                assert "longer than 4,000,000" in str(row)
            else:
                assert isinstance(row, dict) and len(row["prompt"]) == 1_000_000
    assert read == len(column)
    assert most < 100_000_000


def varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def lying_rows(told: int) -> bytes:
    """1,000 rows that say, where all rows and those of the group are counted, to be others."""
    content = parquet(pa.table({"n": pa.array(range(1_000), pa.int32())}), use_dictionary=False)
    start = len(content) - 8 - struct.unpack("<L", content[-8:-4])[0]
    footer = content[start:].replace(b"\x16" + varint(1_000), b"\x16" + varint(told))
    return content[:start] + footer


def bomb(unpacked: int) -> bytes:
    """A page of a few bytes that unpacks to many."""
    text = pa.table({"prompt": ["x" * unpacked]})
    return parquet(text, compression="zstd", use_dictionary=False, write_statistics=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: FILES["Parquet"][:-20], "no end that can be read"),
        (
            lambda: b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1",
            "metadata of 2,147,483,647 bytes",
        ),
        (lambda: b"PAR1" + b"\xff" * 100 + b"\x20\x00\x00\x00PAR1", "damaged"),
        (lambda: FILES["Parquet"][:4] + b"\xff" * 60 + FILES["Parquet"][64:], "damaged"),
        (lambda: lying_rows(1_999), "holds 1,999 rows, and its column n holds 1,000 values"),
        (lambda: lying_rows(3), "holds 3 rows, and its column n holds 1,000 values"),
        (lambda: lying_rows(0), "holds 0 rows, and its column n holds 1,000 values"),
        (lambda: bomb(100_000_000), "pages of 100,000,0.. bytes unpacked; at most 64,000,000"),
        (lambda: parquet(pa.table({f"c{i}": [1] for i in range(2_000)})), "has 2,000 columns"),
        (lambda: arrow(TABLE)[:-100], "damaged in batch 1"),
        (lambda: FILES["Arrow file"][:40], "damaged"),
        (lambda: FILES["Arrow file"][:-8], "damaged: it was cut off"),
        (lambda: arrow(pa.table({"x": ["y" * 100_000_000]}), compression="zstd"), "bytes unpacked"),
        (
            lambda: arrow(pa.table({"x": pa.array(["y"], pa.string_view())})),
            "string_view, which is not",
        ),
    ],
)
def test_a_table_that_is_damaged_or_lies_is_refused_in_a_sentence(content, message):
    with pytest.raises(Unreadable, match=message):
        rows(content())


def test_wrong_offsets_of_an_arrow_file_are_found_before_they_are_followed():
    content = arrow(pa.table({"x": ["abc", "de"]}))
    offsets = struct.pack("<3i", 0, 3, 5)
    assert content.count(offsets) == 1
    with pytest.raises(Unreadable, match="damaged in batch 1"):
        rows(content.replace(offsets, struct.pack("<3i", 0, 1 << 30, 5)))
