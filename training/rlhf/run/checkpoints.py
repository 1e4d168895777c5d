"""Resume state on disk: whole or absent, checked when read, the newest two kept.

A checkpoint is a folder `step-00000012` with `tensors.safetensors`, `state.pt` (plain values and
tensors only: it is read with `weights_only=True`) and `manifest.json` with the sha256 of both. It
is written under another name, fsynced and renamed: a kill at any moment leaves the last good one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.rlhf import rows
from training.rlhf.run import durable

KEEP = 2
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.pt", "manifest.json"


class DamagedCheckpoint(ValueError):
    """A checkpoint's files do not match its manifest."""


@dataclass(frozen=True)
class Checkpoint:
    """State after `step` steps: named tensors on the CPU, and everything else."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def fingerprint(data: Any) -> str:
    """The sha256 of plain data written as JSON: names what resume state was made of."""
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def save(
    folder: str | Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write the state after `step` steps and drop all but the newest two.

    Args:
        tensors: weights, by name; tied ones may appear twice.
        state: numbers, strings, lists, dicts and tensors (an optimiser's `state_dict()` is fine).
    """
    folder = Path(folder)
    target = folder / f"step-{step:08d}"
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        save_file(_unshared(tensors), str(partial / TENSORS))
        torch.save(dict(state), partial / STATE)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)  # half a checkpoint must not keep a disk full
        raise
    sums = {name: rows.sha256(partial / name) for name in (TENSORS, STATE)}
    (partial / MANIFEST).write_text(json.dumps({"step": step, "sha256": sums}), "utf-8")
    durable.fsync_tree(partial)  # before the rename, or a crash could leave a whole name half full
    shutil.rmtree(target, ignore_errors=True)  # a damaged one that is being replaced
    partial.rename(target)
    durable.fsync(folder)
    for old in _folders(folder)[KEEP:]:
        shutil.rmtree(old)
    return target


def latest(folder: str | Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint, or None when there is none."""
    for candidate in _folders(Path(folder)):
        try:
            return _read(candidate)
        except DamagedCheckpoint:
            continue
    return None


def _read(folder: Path) -> Checkpoint:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        step, sums = int(manifest["step"]), dict(manifest["sha256"])
        intact = all(rows.sha256(folder / name) == sums[name] for name in (TENSORS, STATE))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{folder}: {error}") from error
    if not intact:
        raise DamagedCheckpoint(f"{folder}: a file differs from its checksum")
    # Tensors and plain values only: a damaged or foreign file cannot run code.
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    return Checkpoint(step, load_file(str(folder / TENSORS)), state)


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors that share memory with an earlier one: safetensors refuses tied weights."""
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach()
        shared = value.untyped_storage().data_ptr() in seen
        seen.add(value.untyped_storage().data_ptr())
        result[name] = value.clone().contiguous() if shared else value.contiguous()
    return result
