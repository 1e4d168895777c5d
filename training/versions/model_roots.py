"""Folders of this server from which models may be added: those that the operator named."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

DEPTH = 3
"""Levels below a root that are looked through for models, as a hub's cache keeps them."""
MOST = 200
MARKS = ("config.json", "adapter_config.json")
"""Files by which the folder of a model is known."""


class NotOffered(Exception):
    """No folder of a model below the roots; the message is for people."""


def roots() -> list[Path]:
    """The folders of PAIRLOOP_MODEL_ROOTS that exist, without links."""
    return [Path(root).resolve() for root in settings.MODEL_ROOTS if Path(root).is_dir()]


def checked(given: str) -> Path:
    """A folder below one of the roots, without links; also by its path from a root.

    Raises:
        NotOffered: there is none.
    """
    if not roots():
        raise NotOffered(
            "No folders of this server are offered for models. Whoever runs it names some in "
            "PAIRLOOP_MODEL_ROOTS."
        )
    for root in roots():
        try:
            path = (root / given.strip()).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if path != root and path.is_relative_to(root) and path.is_dir():
            return path
    # The same sentence for what is elsewhere: this is no way to ask what the disk holds.
    raise NotOffered(
        f"There is no model folder {given.strip()[:200]} in those that this server offers "
        "(PAIRLOOP_MODEL_ROOTS)."
    )


def offered() -> list[str]:
    """Paths from a root of the folders that look like a model's, by name."""
    names = {name for root in roots() for name in _below(root)}
    return sorted(names)[:MOST]


def _below(root: Path) -> list[str]:
    names = []
    for at, folders, files in os.walk(root):  # Links to folders are not followed.
        here = Path(at)
        level = len(here.relative_to(root).parts)
        folders[:] = [one for one in folders if not one.startswith(".") and level < DEPTH]
        if level and any(mark in files for mark in MARKS):
            names.append(here.relative_to(root).as_posix())
            folders[:] = []
        if len(names) >= MOST:
            break
    return names
