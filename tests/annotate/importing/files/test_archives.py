from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import string
import struct
import tarfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import datasets
import pytest
import zstandard

from annotate.importing import Refused, Unreadable
from annotate.importing.files import opened
from tests.annotate.importing.files.reading import ROWS, reading, rows

LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
CSV = b"prompt,x\nQ1,y\n"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


PACKED = {
    "gzip": gzip.compress(LINES),
    "zstd": zstandard.compress(LINES),
    "ZIP": zipped({"a.jsonl": LINES}),
    "tar": tarred({"a.jsonl": LINES}),
    "tar in gzip": tarred({"a.jsonl": LINES}, "w:gz"),
    "tar in zstd": zstandard.compress(tarred({"a.jsonl": LINES})),
}


@pytest.mark.parametrize("packing", PACKED)
def test_rows_come_out_of_every_archive(packing):
    words, lines = reading(PACKED[packing])
    archive = "ZIP" in packing or "tar" in packing
    assert words == f"JSON lines, {'one file ' if archive else ''}in {packing}"
    member = "a.jsonl" if archive else ""
    assert lines == [(member, 1, ROWS[0]), (member, 2, ROWS[1])]


@pytest.mark.parametrize("packing", PACKED)
def test_an_archive_that_was_cut_off_or_changed_is_refused(packing):
    content = PACKED[packing]
    with pytest.raises(Unreadable):
        rows(content[: 700 if packing == "tar" else len(content) * 2 // 3])
    if packing not in ("tar", "zstd", "tar in zstd"):  # These have no checksum here.
        changed = bytearray(content)
        changed[content.index(b"a.jsonl") + 20 if packing == "ZIP" else -6] ^= 255
        with pytest.raises(Unreadable, match="damaged"):
            rows(bytes(changed))


def test_members_are_read_one_after_the_other_and_those_beside_them_named():
    members = {
        "README.md": b"# Data",
        "data/train.csv": CSV,
        "__MACOSX/._train.csv": b"\x00\x05",
        "data/test.csv.gz": gzip.compress(CSV),
        "notes.txt": b"These are my notes.\nNothing more.\n",
    }
    for content in (zipped(members), tarred(members, "w:gz")):
        with opened(io.BytesIO(content)) as source:
            assert [tuple(place) for place, _ in source.rows()] == [
                ("data/train.csv", 2),
                ("data/test.csv.gz", 2),
            ]
            assert source.columns == ["prompt", "x"]
            aside = [name.partition(" ")[0] for name in source.left_out]
            assert aside == ["README.md", "__MACOSX/._train.csv", "notes.txt"]


def test_names_like_paths_are_shown_and_never_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["../../up.jsonl", "/etc/root.jsonl", "a\x1b[31m\n.jsonl", "c:\\x.jsonl"]
    for content in (zipped(dict.fromkeys(names, LINES)), tarred(dict.fromkeys(names, LINES))):
        places = {file for file, _, _ in reading(content)[1]}
        assert places >= {"../../up.jsonl", "/etc/root.jsonl", "a?[31m?.jsonl"}
    assert list(tmp_path.iterdir()) == []


def test_links_in_a_tar_lead_nowhere():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("link.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        info = tarfile.TarInfo("a.jsonl")
        info.size = len(LINES)
        archive.addfile(info, io.BytesIO(LINES))
    with opened(io.BytesIO(out.getvalue())) as source:
        assert [row for _, row in source.rows()] == ROWS
        assert source.left_out == ["link.jsonl (no file of its own)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"a.csv": CSV, "b.jsonl": LINES}), r"several formats: a.csv \(CSV\), b.jsonl"),
        (zipped({"README.md": b"x"}), "holds no file of rows. It holds README.md"),
        (zipped({}), "holds no file of rows"),
        (zipped({"a.jsonl": LINES, "b.csv": b""}), "b.csv: The file holds no rows"),
        (zipped({"a.jsonl": b"version https://git-lfs"}), "a.jsonl: This is a git-LFS pointer"),
        (zipped({"in.zip": zipped({"a.jsonl": LINES})}), "An archive within an archive"),
        (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), "XLSX"),
        (zipped({"[Content_Types].xml": b"", "word/document.xml": b""}), "Word"),
        (zipped({"mimetype": b"application/vnd.oasis", "content.xml": b""}), "ODS"),
        (zipped({"Index/Document.iwa": b"\0"}), "Numbers"),
        (zipped({"archive/data.pkl": b""}), "PyTorch"),
        (zipped({"a.jsonl": LINES}, zipfile.ZIP_BZIP2), "not compressed by Deflate"),
        (zipped({f"{i}.jsonl": LINES for i in range(10_001)}), "more than 10,000 files"),
        (tarred({"a.jsonl": LINES})[:1024], "damaged or was cut off"),
    ],
)
def test_an_archive_without_clear_rows_is_refused_with_its_member(content, message):
    with pytest.raises(Unreadable, match=message):
        rows(content)


def test_a_member_with_a_password_is_refused():
    locked = bytearray(zipped({"a.jsonl": LINES}))
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(header) + flags] |= 1
    with pytest.raises(Unreadable, match=r"a\.jsonl: it is locked with a password"):
        rows(bytes(locked))


OTHERS = {
    "git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:x\n",
    "web page": b"<!DOCTYPE html>\n<html><body>404</body></html>",
    "PDF": b"%PDF-1.7\n%\xe2\xe3",
    "pickle": b"\x80\x04\x95\x10\x00",
    "old Office": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
    "xz": b"\xfd7zXZ\x00\x00",
    "SQLite": b"SQLite format 3\x00",
    "XML": b"<?xml version='1.0'?><rows/>",
    "JavaScript": b"const data = [{prompt: 1}];",
    "YAML": b"- prompt: How?\n  chosen: So.\n  rejected: No.\n",
    "RFC 7464": b'\x1e{"prompt": "How?"}\n',
    "no rows": b" \n\n",
    "compressed twice": gzip.compress(gzip.compress(LINES)),
    "ORC": b"ORC\x11\x00\x00\n\x06",
    "a web page": b"<!-- saved from url -->\n<html lang='en'>",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_of_another_kind_is_named(kind):
    with pytest.raises(Unreadable, match=kind):
        rows(OTHERS[kind])


@pytest.mark.parametrize(
    "text",
    [
        b'{"prompt": "What is <html>?", "chosen": "A page.", "rejected": "No."}\n',
        b"ORCID,prompt,chosen,rejected\n0000-0001,Who?,She.,He.\n",
        b"prompt,chosen,rejected\nA page?,<!DOCTYPE html><html><head></head></html>,No.\n",
        b"prompt,chosen,rejected\nWhat is PK?,<?xml version='1.0'?><html >,No.\n",
        b"Rar!,prompt,chosen\nx,Who?,She.\n",
    ],
)
def test_data_that_speak_of_another_kind_are_data(text):
    assert len(rows(text)) == 1


# Bombs


def test_a_small_archive_cannot_expand_beyond_the_bytes_allowed():
    bomb = gzip.compress((b'{"prompt": "' + b"x" * 500_000 + b'"}\n') * 40)
    assert len(bomb) < 50_000
    for content in (bomb, zipped({"a.jsonl": gzip.decompress(bomb)})):
        with pytest.raises(Unreadable, match="more than 5,000,000 bytes"):
            rows(content, max_bytes=5_000_000)


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (b'{"a": "' + b"x" * 990_000 + b'"}\n', "unpacks to more than 500 times its size"),
        (b"\n" * 1_000_000, "262,144 bytes of white space"),
        (b"x" * 1_000_000, "first line is longer than"),
    ],
)
def test_a_bomb_is_given_up_soon(piece, message):
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(piece) for _ in range(120)) + packer.flush()
    with pytest.raises(Unreadable, match=message):
        rows(bomb)
    zstd = zstandard.ZstdCompressor().compressobj()
    with pytest.raises(Unreadable, match=message):
        rows(b"".join(zstd.compress(piece) for _ in range(120)) + zstd.flush())


SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0pzst"


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(LINES) + gzip.compress(b"") + gzip.compress(LINES) + b"\0" * 2_000,
        zstandard.compress(LINES) + zstandard.compress(b"") + zstandard.compress(LINES),
        SKIPPED + zstandard.compress(LINES) + SKIPPED + zstandard.compress(LINES) + SKIPPED,
    ],
)
def test_parts_that_follow_each_other_are_one_file(content):
    assert rows(content) == 2 * rows(LINES)


@pytest.mark.parametrize("empty", [gzip.compress(b""), zstandard.compress(b""), SKIPPED])
def test_a_file_of_empty_parts_is_no_data(empty):
    begun = time.process_time()
    with pytest.raises(Unreadable, match="more than 10,000 empty parts in a row"):
        rows(empty * 1_000_000)
    assert time.process_time() - begun < 2


def test_a_name_of_megabytes_in_a_gzip_header_is_passed_over():
    packed = gzip.compress(LINES)
    begun = time.process_time()
    named = packed[:3] + b"\x08" + packed[4:10] + b"n" * 10_000_000 + b"\0" + packed[10:]
    assert rows(named) == rows(LINES)
    assert time.process_time() - begun < 4


def test_files_of_a_zip_archive_that_are_one_and_the_same_are_refused():
    packed = zipped({"a.jsonl": LINES * 1_000})
    start, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    entries = packed[start:end] * 500
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 500, 500, len(entries), start, 0)
    with pytest.raises(Unreadable, match="the files in it overlap"):
        rows(packed[:start] + entries + tail)


def test_zstd_that_looks_back_too_far_is_told_how_to_be_packed():
    frame = zstandard.FRAME_HEADER + bytes([0, (28 - 10) << 3])  # --long=28, of unknown length
    block = (len(LINES) << 3 | 1).to_bytes(3, "little") + LINES
    assert rows(frame.replace(b"\x90", b"\x88") + block) == ROWS
    with pytest.raises(Unreadable, match=r"looks back further than 128 MB.*--long=27"):
        rows(frame + block)


def test_a_bomb_in_a_zip_archive_is_not_even_begun():
    bomb = zipped({"a.jsonl": b"\n" * 120_000_000})
    with pytest.raises(Unreadable, match=r"a\.jsonl: it unpacks to 120,000,000 bytes"):
        rows(bomb)


@pytest.mark.parametrize("start", [b'{"a": 1}\n{"a": 2}\n', b"prompt,x\ny,z\n"])
def test_a_million_empty_lines_are_no_data(start):
    with pytest.raises(Unreadable, match="a million empty lines"):
        rows(gzip.compress(start + b"\n" * 1_100_000))


def test_a_line_of_more_than_a_hundred_megabytes_is_no_row():
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=1_000_000)).encode()
    with pytest.raises(Unreadable, match="Line 2 is longer than 100,000,000 bytes"):
        rows(b"{}\n{" + noise * 105)


def test_a_tar_header_of_megabytes_is_refused():
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    content = gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + b"x" * 3_000_000)
    with pytest.raises(Unreadable, match="header of more than a megabyte"):
        rows(content)


# Folders


def test_a_folder_of_files_is_read_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.jsonl").write_bytes(LINES)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES))
    (tmp_path / "README.md").write_text("# Data")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.csv").write_bytes(CSV)
    words, lines = reading(tmp_path)
    assert words == "JSON lines, 2 files in a folder"
    assert [(file, line) for file, line, _ in lines] == [
        *(("a.jsonl.gz", 1), ("a.jsonl.gz", 2)),
        *(("b/2.jsonl", 1), ("b/2.jsonl", 2)),
    ]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A DatasetDict on the disk: five rows of `train` in two shards, two of `test`."""
    train = [*ROWS, *ROWS, ROWS[0]]
    splits = {"train": train, "test": ROWS}
    both = datasets.DatasetDict({k: datasets.Dataset.from_list(v) for k, v in splits.items()})
    both.save_to_disk(tmp_path / "set", num_shards={"train": 2, "test": 1})
    return tmp_path / "set"


@pytest.mark.parametrize("packing", ["", "zip", "gztar"])
def test_a_folder_of_save_to_disk_gives_its_splits(saved, packing, tmp_path):
    # Left over by map(), and not among the files that state.json names.
    shutil.copy(saved / "test" / "data-00000-of-00001.arrow", saved / "train" / "cache-1.arrow")
    place = saved
    if packing:
        place = Path(shutil.make_archive(str(tmp_path / "packed"), packing, tmp_path, "set"))
    expected: list[Any] = [("test", i + 1, row) for i, row in enumerate(ROWS)]
    train = [*ROWS, *ROWS, ROWS[0]]
    expected += [("train", i + 1, row) for i, row in enumerate(train)]
    assert reading(place)[1] == expected
    with opened(place) as source:
        assert [os.path.basename(name) for name in source.left_out] == ["cache-1.arrow"]


def test_one_split_alone_has_no_name_and_a_missing_shard_is_named(saved):
    assert reading(saved / "test")[1][0] == ("", 1, ROWS[0])
    (saved / "train" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(Unreadable, match=r"train/data-00001-of-00002\.arrow is missing"):
        reading(saved)


def test_progress_grows_from_nothing_to_all(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES * 5_000)
    (tmp_path / "b.jsonl").write_bytes(LINES * 5_000)
    with opened(tmp_path) as source:
        assert source.progress() == 0.0
        shares = [source.progress() for _, row in source.rows() if not isinstance(row, Refused)]
        assert shares == sorted(shares) and shares[0] < 0.2
        assert 0.45 < shares[9_999] < 0.55
        assert source.progress() == 1.0
