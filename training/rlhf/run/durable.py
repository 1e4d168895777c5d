"""Files that survive a power failure: data first, then the name that says it is whole."""

from __future__ import annotations

import os
from pathlib import Path

from training.rlhf import rows


def replace(path: Path, text: str) -> None:
    """Write a small file: a reader, and a crash, see the old one or the new one."""
    with rows.replacing(path) as file:
        file.write(text.encode())


def fsync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """`fsync` everything in a folder, and the folder itself last."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            fsync(Path(root, name))
        fsync(Path(root))
