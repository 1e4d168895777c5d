"""Folders of models under a second name, without a second copy of their weights. Torch-free."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def link_folder(source: Path, target: Path) -> None:
    """Make `target` with the files of `source`, copied only where they cannot be linked.

    Both names share the content: whoever changes a file afterwards unlinks it first.

    Raises:
        OSError: there is no such folder, or `target` is there already.
    """
    shutil.copytree(source, target, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
