from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from training.rlhf.data import data_files
from training.rlhf.rows import RowError

GOOD = {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes.", "rejected": "\n\nHuman: Hi\n\nAssistant: No."}
SECOND = {"chosen": "\n\nHuman: A?\n\nAssistant: B.", "rejected": "\n\nHuman: A?\n\nAssistant: C."}
ENDS_OTHERWISE = {
    "chosen": "\n\nHuman: Hi\n\nAssistant: So.\n\nHuman: Bye",
    "rejected": "\n\nHuman: Hi\n\nAssistant: So.\n\nHuman: Thanks",
}
EMPTY = {"chosen": "\n\nHuman: Hi\n\nAssistant:", "rejected": "\n\nHuman: Hi\n\nAssistant: No."}


def written(path: Path, *rows: dict[str, str]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_dialogues_that_end_otherwise_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = written(tmp_path / "test.jsonl.gz", GOOD, ENDS_OTHERWISE, SECOND)
    pairs = data_files.preferences(file, held_out_share=0.0)
    assert len(pairs) == 2 and pairs.counted == {"rows_left_out": 1.0}
    assert "1 rows left out: chosen and rejected must differ" in caplog.text
    assert len(data_files.prompts(file, held_out_share=0.0)) == 2


def test_chats_without_a_reply_are_left_out_and_counted(tmp_path: Path) -> None:
    file = written(tmp_path / "test.jsonl", EMPTY, GOOD, EMPTY)
    chats = data_files.chats(file, held_out_share=0.0)
    assert len(chats) == 1 and chats.counted == {"rows_left_out": 2.0}


def test_a_file_of_unusable_rows_alone_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    file = written(tmp_path / "test.jsonl", EMPTY, EMPTY)
    with pytest.raises(RowError, match="line 1: the last message must be a reply"):
        data_files.chats(file, held_out_share=0.0)


def test_a_malformed_row_is_an_error_wherever_it_stands(tmp_path: Path) -> None:
    file = written(tmp_path / "test.jsonl", GOOD, {"chosen": "a"})
    with pytest.raises(RowError, match="line 2: rejected is missing"):
        data_files.preferences(file, held_out_share=0.0)


@pytest.mark.parametrize("name", ["rows.json.gz", "rows.csv.gz"])
def test_lists_and_tables_may_be_gzipped(name: str, tmp_path: Path) -> None:
    text = json.dumps([{"prompt": "Hi"}]) if "json" in name else "prompt\nHi\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    [prompt] = data_files.prompts(tmp_path / name, held_out_share=0.0)
    assert prompt.messages[-1]["content"] == "Hi"


WHOLE = gzip.compress(b'{"prompt": "Hi"}\n' * 99)


@pytest.mark.parametrize("content", [b"no gzip", WHOLE[:-12]])
def test_a_damaged_archive_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(content)
    with pytest.raises(RowError, match=r"cannot read .*rows\.jsonl\.gz: "):
        data_files.prompts(tmp_path / "rows.jsonl.gz", held_out_share=0.0)
