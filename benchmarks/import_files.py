"""Reading files for an import: rows per CPU second by format, and what hostile files cost.

Each file is read in a process of its own, which has loaded pyarrow before: CPU seconds until the
last row or the sentence of refusal, and megabytes above the memory that it had. No database.
Options: `--rows=200000`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from benchmarks.result import Result

ROOT = Path(__file__).resolve().parent.parent
READ = """
import json, os, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django; django.setup()
import pyarrow.parquet, zstandard
from pathlib import Path
from annotate.importing.files import opened
from annotate.importing import Refused, Unreadable
def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before, start, said, rows = peak(), time.process_time(), "", 0
try:
    with opened(Path(sys.argv[1])) as source:
        for place, row in source.rows():
            rows += 1
            if isinstance(row, Refused):
                said = said or f"{source.unit} {place.line}: {row}"
except Unreadable as error:
    said = str(error)
print(json.dumps([rows, time.process_time() - start, peak() - before, said]))
"""
MEGABYTE = b"x" * 1_000_000


def table(rows: int) -> list[dict[str, Any]]:
    said = "Fill it with equal parts of vinegar and water, and boil."
    return [
        {"prompt": f"How do I descale kettle {i}?", "chosen": said, "rejected": "Buy a new one."}
        for i in range(rows)
    ]


def chats(rows: int) -> list[dict[str, Any]]:
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    return [
        {name: [{"role": role, "content": row[name]}] for name, role in roles.items()}
        for row in table(rows)
    ]


def as_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def as_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def as_array(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=1), "utf-8")


def as_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def as_arrow(path: Path, rows: list[dict[str, Any]]) -> None:
    content = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(path), content.schema) as writer:
        writer.write_table(content)


FORMATS: dict[str, tuple[Callable[[int], list[dict[str, Any]]], Callable[..., None]]] = {
    "json_lines": (table, as_lines),
    "json_array": (table, as_array),
    "csv": (table, as_csv),
    "parquet": (table, as_parquet),
    "parquet_chats": (chats, as_parquet),
    "arrow_chats": (chats, as_arrow),
}


def packed(piece: bytes, times: int, packer: Any) -> bytes:
    return b"".join(packer.compress(piece) for _ in range(times)) + packer.flush()


def gzipped(piece: bytes, times: int) -> bytes:
    return packed(piece, times, zlib.compressobj(9, wbits=31))


def zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.jsonl", "w") as member:
            for _ in range(1_000):
                member.write(b'{"a": "' + MEGABYTE + b'"}\n')
    return out.getvalue()


def parquet(content: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(content, out, **options)
    return out.getvalue()


def repeated(nested: bool) -> bytes:
    """3,000 references to one megabyte, in 3,000 rows or in one."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000, pa.int32()), ["x" * 1_000_000])
    if nested:
        column = pa.ListArray.from_arrays([0, 3_000], column)
    return parquet(pa.table({"a": column}), store_schema=False)


def arrow_bomb() -> bytes:
    out = io.BytesIO()
    content = pa.table({"a": ["x" * 500_000_000]})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(out, content.schema, options=options) as writer:
        writer.write_table(content)
    return out.getvalue()


def bad_row(text: bytes) -> Callable[[], bytes]:
    return lambda: b'{"a": 1}\n' + text + b'\n{"a": 2}\n'


HOSTILE: dict[str, Callable[[], bytes]] = {
    "gzip_bomb_of_rows": lambda: gzipped(b'{"a": "' + MEGABYTE + b'"}\n', 1_000),
    "gzip_bomb_of_empty_lines": lambda: gzip.compress(b"{}\n{}\n" + b"\n" * 100_000_000),
    "zstd_bomb_of_rows": lambda: packed(
        b'{"a": "' + MEGABYTE + b'"}\n', 1_000, zstandard.ZstdCompressor().compressobj()
    ),
    "zip_bomb": zip_bomb,
    "line_of_1_gb": lambda: gzipped(MEGABYTE, 1_000),
    "json_line_of_1_gb": lambda: b'{"a": 1}\n{"a": "' + MEGABYTE * 1_000,
    "json_array_with_a_text_of_1_gb": lambda: b'[{"a": "' + MEGABYTE * 1_000,
    "json_array_of_brackets": lambda: b'[{"a":' + b"[" * 50_000_000,
    "json_table_of_10000_columns": lambda: json.dumps(
        {"columns": [f"c{i}" for i in range(10_000)], "data": [[*range(10_000)]] * 9}
    ).encode(),
    "json_table_of_brackets": lambda: b'{"columns": ["a", "b"], "data": [' + b"[" * 50_000_000,
    "json_table_with_a_text_of_1_gb": lambda: b'[["prompt", "b"], ["' + MEGABYTE * 1_000,
    "json_objects_around_objects": lambda: b'{"data": ' * 10_000_000,
    "nested_50000_deep": bad_row(b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "row_of_empty_objects": bad_row(b'{"a": [' + b"{}," * 1_300_000 + b"{}]}"),
    "nul": bad_row(b'{"a": "\\u0000"}'),
    "half_a_surrogate_pair": bad_row(b'{"a": "\\ud800"}'),
    "nan": bad_row(b'{"a": NaN}'),
    "key_twice": bad_row(b'{"a": 1, "a": 2}'),
    "columns_10000": bad_row(json.dumps({f"c{i}": i for i in range(10_000)}).encode()),
    "csv_columns_10000": lambda: b",".join(b"c%d" % i for i in range(10_000)) + b"\n",
    "csv_cell_of_100_mb": lambda: b'a,b\n"' + MEGABYTE * 100 + b'",2\n3,4\n',
    "csv_quote_never_closed": lambda: b'a,b\n"' + b"x,y\n" * 25_000_000,
    "parquet_page_of_1_gb": lambda: parquet(
        pa.table({"a": ["x" * 1_000_000_000]}), compression="zstd", use_dictionary=False
    ),
    "parquet_megabyte_in_3000_rows": lambda: repeated(False),
    "parquet_megabyte_3000_times_in_a_row": lambda: repeated(True),
    "parquet_columns_10000": lambda: parquet(pa.table({f"c{i}": [1] for i in range(10_000)})),
    "parquet_cut": lambda: parquet(pa.table({"a": ["x"] * 1_000}))[:-100],
    "arrow_batch_of_500_mb": arrow_bomb,
}


def read(path: Path) -> tuple[int, float, float, str]:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=ROOT, capture_output=True, check=True
    )
    rows, seconds, megabytes, said = json.loads(done.stdout.splitlines()[-1])
    return rows, seconds, megabytes, said


def benchmark(arguments: list[str]) -> Result:
    options = dict(argument.lstrip("-").split("=") for argument in arguments)
    result = Result()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for name, (make, write) in FORMATS.items():
            write(path, make(int(options.get("rows", 200_000))))
            rows, seconds, megabytes, said = read(path)
            assert not said, said
            result.figures[f"{name}_rows_per_cpu_second"] = rows / seconds
            result.figures[f"{name}_mb"] = megabytes
        for name, content in HOSTILE.items():
            path.write_bytes(content())
            _, seconds, megabytes, said = read(path)
            print(f"  {name}: {said}", flush=True)
            result.figures[f"{name}_cpu_seconds"] = seconds
            result.figures[f"{name}_mb"] = megabytes
    return result
