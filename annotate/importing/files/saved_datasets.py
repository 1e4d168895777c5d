"""Folders that `datasets` writes with save_to_disk: shards of Arrow, and splits."""

from __future__ import annotations

from typing import Any

from annotate.importing.files.bounded_streams import Part
from annotate.importing.files.strict_json import parse
from annotate.importing.problems import Refused, Unreadable

STATE, SPLITS = "state.json", "dataset_dict.json"
OWN = (STATE, SPLITS, "dataset_info.json")
MAX_STATE = 1_000_000


def splits(files: list[Part]) -> tuple[dict[str, list[Part]], list[str]]:
    """The shards of each split in their order, and the names of the files left aside.

    The split is "" of a data set without any. Empty where the files are no saved data set.
    """
    by_name = {part.name: part for part in files}
    states = [part for part in files if part.name.rpartition("/")[2] == STATE]
    saved: dict[str, list[Part]] = {}
    for state in states:
        names = _shards(state)
        if not names:
            continue
        folder = state.name.removesuffix(STATE)
        parent, _, split = folder.rstrip("/").rpartition("/")
        in_dict = f"{parent}/{SPLITS}".lstrip("/") in by_name
        label = split if in_dict else ""
        if label in saved:
            raise Unreadable("There are several saved data sets in it. Import them one by one.")
        saved[label] = [_shard(by_name, folder, name) for name in names]
    used = {id(part) for shards in saved.values() for part in shards}
    return saved, [
        part.name
        for part in files
        if id(part) not in used and part.name.rpartition("/")[2] not in OWN
    ]


def _shards(state: Part) -> list[str]:
    """The names of the shards; others may lie beside them, left over from earlier writing. Empty
    where the file is no state of a data set."""
    try:
        told: dict[str, Any] = parse(state.start(MAX_STATE).decode())
        return [str(file["filename"]) for file in told["_data_files"]]
    except (Refused, UnicodeDecodeError, KeyError, TypeError):
        return []


def _shard(by_name: dict[str, Part], folder: str, name: str) -> Part:
    if folder + name not in by_name:
        raise Unreadable(f"{folder}{name} is missing, which {folder}{STATE} names.")
    return by_name[folder + name]
