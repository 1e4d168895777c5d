from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from annotate.importing import Refused, Unreadable
from annotate.importing.file_reader import MAX_LINE, json_rows, parse
from annotate.importing.shapes.row_shapes import read

HI = [{"role": "user", "content": "Hi"}]
SAY = {"role": "assistant", "content": "Hello"}


def lines(*contents: bytes) -> list[tuple[int, Any]]:
    return list(json_rows(io.BytesIO(b"\n".join(contents))))


def texts(raw: dict[str, Any]) -> list[str]:
    return [completion.text for completion in read(raw).completions]


def winner(raw: dict[str, Any]) -> str:
    row = read(raw)
    return row.completions["ab".index(row.votes["imported"])].text


@pytest.mark.parametrize(
    "raw",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
        {"prompt": HI, "chosen": [SAY], "rejected": [{**SAY, "content": "No"}]},
        {"chosen": [*HI, SAY], "rejected": [*HI, {**SAY, "content": "No"}]},
        {"prompt": "Hi", "chosen": [*HI, SAY], "rejected": [*HI, {**SAY, "content": "No"}]},
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
            "rejected": "\n\nHuman: Hi\n\nAssistant: No",
        },
        {"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": "Hello", "rejected": "No"},
    ],
)
def test_every_form_of_a_trl_preference_means_the_same(raw):
    row = read(raw)
    assert row.messages == HI
    assert sorted(c.text for c in row.completions) == ["Hello", "No"]
    assert winner(raw) == "Hello"


def test_the_better_side_is_not_always_a():
    votes = [
        read({"prompt": "Hi", "chosen": f"x{i}", "rejected": f"y{i}"}).votes for i in range(60)
    ]
    assert 15 < sum(v["imported"] == "a" for v in votes) < 45


def test_a_dialogue_is_split_by_turns_even_when_the_replies_begin_alike():
    start = "\n\nHuman: Hi\n\nAssistant: Yes\n\nHuman: More?\n\nAssistant:"
    row = read({"chosen": f"{start} I think so", "rejected": f"{start} I think not"})
    assert [m["content"] for m in row.messages] == ["Hi", "Yes", "More?"]
    assert sorted(c.text for c in row.completions) == ["I think not", "I think so"]


def test_a_reply_of_two_assistant_turns_is_joined_with_a_warning():
    one = "\n\nHuman: Hi\n\nAssistant: Hello"
    row = read(
        {"chosen": f"{one}\n\nAssistant: Again", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}
    )
    assert row.messages == HI
    assert "Hello\n\nAgain" in [c.text for c in row.completions]
    assert row.warnings


@pytest.mark.parametrize("names", [("completion_a", "completion_b"), ("response_a", "response_b")])
def test_a_pair_row_keeps_sides_models_tags_and_votes(names):
    raw = dict(zip(names, ("one", "two"), strict=True)) | {
        "prompt": "Hi",
        "model_a": "gpt2",
        "model_b": "llama",
        "tags": ["greeting"],
        "votes": {"anna": "A", "bob": "tie", "cem": "b"},
    }
    row = read(raw)
    assert [(c.text, c.model) for c in row.completions] == [("one", "gpt2"), ("two", "llama")]
    assert row.votes == {"anna": "a", "bob": "tie", "cem": "b"}
    assert row.tags == ["greeting"] and row.is_pair


def test_prompts_references_and_several_completions_are_read():
    assert read({"prompt": "Hi"}).completions == []
    assert read({"prompt": "Hi", "reference": "Hello"}).reference == "Hello"
    several = {"prompt": HI, "completions": ["one", {"text": "two", "model": "m"}, [SAY]]}
    assert texts(several) == ["one", "two", "Hello"]
    assert texts({"prompt": "Hi", "completion": "one"}) == ["one"]


def test_a_reply_that_some_writer_turned_into_a_boolean_is_read_as_text_with_a_warning():
    row = read({"prompt": "Hi", "response_a": True, "response_b": "no", "votes": {"x": "a"}})
    assert row.completions[0].text == "True"
    assert [field for field, _ in row.warnings] == ["response_a"]


PAIR = {"prompt": "Hi", "completion_a": "one", "completion_b": "two"}


@pytest.mark.parametrize(
    ("raw", "field", "reason"),
    [
        ({"question": "Hi"}, "prompt", "missing"),
        ({"prompt": "Hi", "chosen": "x"}, "rejected", "missing"),
        ({"prompt": "Hi", "completion_a": "x"}, "completion_b", "missing"),
        ({"completion_a": "x", "completion_b": "y"}, "prompt", "missing"),
        ({"chosen": "x", "rejected": "y"}, "prompt", "whole dialogues"),
        (PAIR | {"prompt": None}, "prompt", "null"),
        (PAIR | {"prompt": "  "}, "prompt", "empty"),
        (PAIR | {"prompt": [SAY]}, "prompt", "assistant"),
        (PAIR | {"prompt": [{"role": "robot", "content": "x"}]}, "prompt", "role"),
        (PAIR | {"prompt": [{"role": "user"}]}, "prompt", "content"),
        (PAIR | {"prompt": 7}, "prompt", "text is expected"),
        (PAIR | {"prompt": "x" * 100_001}, "prompt", "longer than 100,000"),
        (PAIR | {"completion_b": ""}, "completion_b", "empty"),
        (PAIR | {"completion_b": "one"}, "completion_b", "identical to completion_a"),
        (PAIR | {"completion_b": ["x"]}, "completion_b", "text is expected"),
        (PAIR | {"votes": {"anna": "left"}}, "votes", "must be one of"),
        (PAIR | {"votes": ["a"]}, "votes", "object"),
        (PAIR | {"votes": {"": "a"}}, "votes", "name"),
        (PAIR | {"tags": "news"}, "tags", "list"),
        (PAIR | {"model_a": 3}, "model_a", "name"),
        ({"prompt": "Hi", "chosen": "same", "rejected": "same"}, "rejected", "identical"),
        ({"prompt": "Hi", "completions": []}, "completions", "list"),
        ({"prompt": "Hi", "completion": " "}, "completion", "empty"),
        ({"prompt": "Hi", "reference": {}}, "reference", "text"),
    ],
)
def test_a_bad_row_is_refused_with_its_field_and_reason(raw, field, reason):
    with pytest.raises(Refused) as caught:
        read(raw)
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_an_empty_completion_is_only_a_warning_where_people_have_judged_it():
    row = read(PAIR | {"completion_b": "", "votes": {"anna": "a"}})
    assert [field for field, _ in row.warnings] == ["completion_b"]
    assert read({"prompt": "Hi", "chosen": "", "rejected": "bad"}).warnings


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
