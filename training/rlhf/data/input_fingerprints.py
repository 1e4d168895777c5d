"""The files and models that a command reads, and whether they are still what they were. Torch-free.

Fingerprints are of the content; what has the same size and time as when it was read is taken to be
the same without reading it again, since the dumps of a month have many gigabytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from training.rlhf import rows
from training.rlhf.config import CompareJob, EvaluateJob, Job, SFTJob
from training.rlhf.data.data_files import DATASET

FILES = (
    *("preferences", "ratings", "prompts", "votes", "undecided", "key", "replies"),
    *("submissions", "comments", "card"),
)
"""Settings that name a file of data, or a dataset."""
MODELS = ("starter", "policy", "before", "reward_model", "judge", "folder")
"""Settings that name the folder of a model, or its hub id."""
SEVERAL = ("models", "reward_models", "parts", "candidates")
"""Settings that name more than one."""

Note = dict[str, Any]


def files(config: Job) -> dict[str, str]:
    """Every file of data that the config names, by its setting."""
    if isinstance(config, SFTJob):
        return {"data": config.sft.data}
    return {name: path for name in FILES for path in _one(config, name)}


def sources(config: Job) -> dict[str, str]:
    """Every file and every model that the config names, by its setting."""
    paths = files(config)
    if isinstance(config, SFTJob):
        return paths | ({"model": config.sft.model.path} if config.sft.model.path else {})
    paths |= {name: path for name in MODELS for path in _one(config, name)}
    for name in SEVERAL:
        several = getattr(config, name, ())
        named = several.items() if isinstance(several, dict) else enumerate(several, start=1)
        paths |= {f"{name}.{key}": path for key, path in named}
    reader = config.evaluate.judge if isinstance(config, CompareJob | EvaluateJob) else None
    if reader is not None and reader.path:
        paths["evaluate.judge"] = reader.path
    return paths


def _one(config: Job, name: str) -> tuple[str, ...]:
    value = getattr(config, name, "")
    return (value,) if value else ()


def local(path: str) -> Path:
    """The file or folder that is meant, which need not be there; a local dataset's folder."""
    dataset = path.startswith(DATASET)
    return Path(path.removeprefix(DATASET).partition(":")[0] if dataset else path)


def note(paths: Iterable[str]) -> dict[str, Note]:
    """Fingerprints of those that are files or folders here, by the paths as they are written."""
    places = {path: local(path) for path in paths}
    stamps = {path: _stamp(place) for path, place in places.items() if place.exists()}
    return {
        path: {"stamp": list(stamp), "sha256": _sha256(places[path], stamp)}
        for path, stamp in stamps.items()
    }


def changed(noted: Mapping[str, Note]) -> list[str]:
    """The paths that hold something else now; what is gone was not replaced."""
    replaced = []
    for path, before in noted.items():
        place = local(path)
        if not place.exists() or (stamp := _stamp(place)) == tuple(before["stamp"]):
            continue
        if _sha256(place, stamp) != before["sha256"]:
            replaced.append(path)
    return replaced


Stamp = tuple[int, int, int]
"""Number of files, their bytes, and the time the last was written (nanoseconds)."""


def _stamp(place: Path) -> Stamp:
    states = [path.stat() for path in _files(place)]
    written = max((state.st_mtime_ns for state in states), default=0)
    return len(states), sum(state.st_size for state in states), written


@cache
def _sha256(place: Path, stamp: Stamp) -> str:
    """Of a file its sha256; of a folder that of all names and theirs."""
    if place.is_file():
        return rows.sha256(place)
    lines = (f"{path.relative_to(place)} {rows.sha256(path)}\n" for path in _files(place))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(place: Path) -> list[Path]:
    entries = [place] if place.is_file() else place.rglob("*")
    return sorted(path for path in entries if path.is_file())
