"""PAIRLOOP_HOME: the one folder that holds everything the product writes."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path


def prepare(home: Path) -> Path:
    """Create the folder (mode 0700: it holds the secret key and private votes)."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def secret_key(home: Path) -> str:
    """Return the installation's secret key, generated at the first start (mode 0600)."""
    path = home / "secret_key"
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        pass
    # Linking a finished file makes the first of several processes win, never half a key.
    descriptor, temporary = tempfile.mkstemp(dir=home, prefix=".secret_key-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return path.read_text("ascii").strip()
