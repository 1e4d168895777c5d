"""The hash by which a model's folder is known again, without reading gigabytes. Torch-free."""

from __future__ import annotations

import hashlib
from pathlib import Path

from training.rlhf.delivery import model_folder_checks
from training.rlhf.delivery.model_folder_checks import Unusable

READ = (".json", ".safetensors", ".model", ".txt", ".jinja")
"""Endings of the files that a model is loaded from."""
WHOLE, SAMPLES, SAMPLE = 16 * 2**20, 256, 4096
"""Bytes up to which a file is read as a whole; of larger ones so many places of so many bytes."""


def fingerprint(folder: Path) -> str:
    """A hash by which a folder is known again: other weights, settings or tokens give another one.

    Of weights it reads size, header and `SAMPLES` places, so that a model of any size takes
    milliseconds; names and dates of files, which a copy changes, are not in it.

    Raises:
        Unusable: a file is not there any more.
    """
    told = hashlib.sha256()
    try:
        # The adapter first, then its base, wherever they lie: a restored home has other paths.
        for place in dict.fromkeys((folder, model_folder_checks.folder_of_base(folder))):
            for path in sorted(one for one in place.iterdir() if one.suffix in READ):
                told.update(f"{path.name} {path.stat().st_size}\n".encode())
                told.update(_some_of(path))
    except OSError as error:
        raise Unusable(f"{folder} cannot be read: {error.strerror}.") from error
    return told.hexdigest()


def _some_of(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE:
            return file.read()
        parts = [file.read(SAMPLE)]
        for n in range(1, SAMPLES + 1):
            file.seek((size - SAMPLE) * n // SAMPLES)
            parts.append(file.read(SAMPLE))
    return b"".join(parts)
