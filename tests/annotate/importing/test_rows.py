from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from annotate.importing import Refused, Unreadable
from annotate.importing.file_reader import MAX_LINE, json_rows, parse


def lines(*contents: bytes) -> list[tuple[int, Any]]:
    return list(json_rows(io.BytesIO(b"\n".join(contents))))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "Hi"', "not valid JSON"),
        (b'["prompt"]', "not a JSON object"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8: byte 0xe9 at position 16"),
        (b'{"prompt": NaN}', "NaN is not JSON"),
        (b'{"prompt": "a", "prompt": "b"}', "twice"),
        (b'{"prompt": "a\\u0000b"}', "NUL"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"prompt": ' + b"[" * 40 + b"]" * 40 + b"}", "deeper than 32"),
        (b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "deeper than 32"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_bad_line_is_refused_and_the_next_one_read(line, reason):
    found = lines(b'{"prompt": "first"}', line, b"", b'{"prompt": "last"}')
    assert [number for number, _ in found] == [1, 2, 4]
    assert isinstance(found[1][1], Refused) and reason in str(found[1][1])
    assert found[2][1] == {"prompt": "last"}


class Counting(io.BytesIO):
    """Remembers the longest piece anybody asked for."""

    longest = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        piece = super().readline(-1 if size is None else size)
        self.longest = max(self.longest, len(piece))
        return piece


def test_a_10_mb_line_is_refused_without_reading_it_whole():
    huge = b'{"prompt": "' + b"x" * 10_000_000 + b'"}'
    file = Counting(huge + b"\n" + b'{"prompt": "next"}')
    found = list(json_rows(file))
    assert "longer than 1,000,000 bytes" in str(found[0][1])
    assert found[1] == (2, {"prompt": "next"})
    assert file.longest <= MAX_LINE + 1


def test_a_byte_order_mark_windows_lines_and_gzip_are_fine():
    plain = b'\xef\xbb\xbf{"prompt": "one"}\r\n{"prompt": "two"}\r\n'
    expected = [(1, {"prompt": "one"}), (2, {"prompt": "two"})]
    assert list(json_rows(io.BytesIO(plain))) == expected
    assert list(json_rows(io.BytesIO(gzip.compress(plain)))) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        ('{"prompt": "x"}'.encode("utf-16"), "UTF-16"),
        (b'[\n{"prompt": "x"}]', "JSON array"),
        (b"PK\x03\x04rest", "ZIP"),
        (gzip.compress(b'{"prompt": "x"}\n' * 1000, mtime=0)[:40], "archive"),
        (b"\x1f\x8bnonsense", "archive"),
    ],
)
def test_a_file_of_another_kind_is_named(content, message):
    with pytest.raises(Unreadable, match=message):
        list(json_rows(io.BytesIO(content)))


def test_a_small_archive_cannot_expand_for_ever():
    bomb = gzip.compress((b'{"prompt": "' + b"x" * 500_000 + b'"}\n') * 40)
    assert len(bomb) < 50_000
    with pytest.raises(Unreadable, match="more than 5,000,000 bytes"):
        list(json_rows(io.BytesIO(bomb), max_bytes=5_000_000))


def test_ordinary_text_with_escapes_survives():
    assert parse(json.dumps({"prompt": "caf\u00e9 \U0001f600"})) == {"prompt": "café 😀"}
