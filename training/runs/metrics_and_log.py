"""Progress, metrics and log of a training process, read as they grow and kept as rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.models import Metric, Run

TAIL_BYTES = 20_000
LOG = "log.txt"


@dataclass
class Follower:
    """Complete new lines of a growing JSONL file; what is not a JSON object is passed over."""

    path: Path
    offset: int = 0

    def read(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            try:
                data = json.loads(line)
            except ValueError:
                continue
            if isinstance(data, dict) and isinstance(data.get("stage"), str):
                yield data


@dataclass
class Journal:
    """Progress, metrics and log of one run directory, from the beginning of its files.

    Reading all over again is harmless: metrics are upserted by (run, stage, step), and of lines
    for the same step, which a resumed process writes again, the last one counts.
    """

    directory: Path
    progress: Follower = field(init=False)
    metrics: Follower = field(init=False)
    seen_log: int = -1

    def __post_init__(self) -> None:
        self.progress = Follower(self.directory / "progress.jsonl")
        self.metrics = Follower(self.directory / "metrics.jsonl")

    def rewind(self) -> None:
        """Read from the beginning at the next turn."""
        self.progress.offset = self.metrics.offset = 0
        self.seen_log = -1

    def log_tail(self) -> str | None:
        """The end of the log, or None when it did not change since the last call."""
        try:
            size = (self.directory / LOG).stat().st_size
            if size == self.seen_log:
                return None
            with (self.directory / LOG).open("rb") as file:
                file.seek(max(0, size - TAIL_BYTES))
                text = file.read(TAIL_BYTES).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        self.seen_log = size
        return text.replace("\x00", "�")


def progress_fields(line: dict[str, Any]) -> dict[str, Any]:
    """Columns of a run that show where it is."""
    return {
        "stage": str(line["stage"])[:40],
        "step": _count(line.get("step")),
        "total": _count(line.get("total")),
        "message": str(line.get("message", ""))[:200],
    }


def store_metrics(run: Run, lines: list[dict[str, Any]]) -> None:
    """Upsert one row per (stage, step); numbers alone are kept."""
    last = {(line["stage"][:40], _count(line.get("step"))): line for line in lines}
    Metric.objects.bulk_create(
        [
            Metric(run=run, stage=stage, step=step, values=_numbers(line))
            for (stage, step), line in last.items()
        ],
        update_conflicts=True,
        unique_fields=["run", "stage", "step"],
        update_fields=["values"],
        batch_size=500,
    )


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**31 else 0


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    return {
        key: value
        for key, value in line.items()
        if key not in ("time", "stage", "step")
        and isinstance(value, int | float)
        and abs(value) < float("inf")
    }
