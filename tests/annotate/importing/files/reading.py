"""Reading a file through the door of the room."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from annotate.importing import Refused
from annotate.importing.files import opened

ROWS = [
    {"prompt": "Q1", "chosen": "good, né", "rejected": "bad\nline"},
    {"prompt": "Q2", "chosen": "x", "rejected": "y"},
]
NAMES = ["prompt", "chosen", "rejected"]


def reading(content: bytes | Path, **options: Any) -> tuple[str, list[tuple[str, int, Any]]]:
    """The format in words, and (file, line, row or the reason of its refusal)."""
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    with opened(file, **options) as source:
        first = [(*place, told(row)) for place, row in source.rows()]
        assert source.progress() == 1.0
        assert [(*place, told(row)) for place, row in source.rows()] == first
        return source.format, first


def told(row: dict[str, Any] | Refused) -> Any:
    return str(row) if isinstance(row, Refused) else row


def rows(content: bytes | Path, **options: Any) -> list[Any]:
    """The rows, and the reasons of refusals, without their places."""
    return [row for _, _, row in reading(content, **options)[1]]
