"""Numbers of a comparison's finished steps, kept so that a stopped one goes on after them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.language import lora_adapters
from training.rlhf.run.work import Work

Numbers = list[dict[str, float]]
"""Of every reply, in the order of the prompts."""


def computed_once(
    work: Work, name: str, parts: Sequence[Any], make: Callable[[], Numbers]
) -> Numbers:
    """The numbers that `make` gives, computed once for these `parts`.

    Every file holds one finished step: work that is ended in between goes on after the last one.
    """
    work.guard()
    work.checkpoints.mkdir(parents=True, exist_ok=True)
    file = work.checkpoints / f"{name}-{digest(*parts)}.jsonl"
    if not file.exists():
        numbers = make()
        work.guard()  # what lost its run while it computed writes nothing
        rows.write(file, numbers)
    return [data for _, data in rows.read_json(file)]


def digest(*parts: Any) -> str:
    """A short name for a mixture of folders, settings and texts."""
    seen = [fingerprint(part) if isinstance(part, Path) else part for part in parts]
    return hashlib.sha256(json.dumps(seen, default=dataclasses.asdict).encode()).hexdigest()[:16]


def fingerprint(folder: Path) -> list[Any]:
    """Names, sizes and times of a model's files, and of what an adapter adapts: a retrained model
    is another one."""
    files = sorted(path for path in folder.glob("*") if path.is_file())
    own = [str(folder), *((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files)]
    base = lora_adapters.adapter_base(folder)
    return own if base is None else [*own, fingerprint(Path(base))]
