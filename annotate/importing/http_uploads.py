"""Files that arrive over HTTP: bounded before they are read."""

from __future__ import annotations

import tempfile
from typing import IO

from annotate.importing.limits import MAX_REQUEST

CHUNK = 256 * 1024


class TooLarge(ValueError):
    """The message says how large a file may be and what to use instead."""

    def __init__(self) -> None:
        super().__init__(
            f"The file is larger than {MAX_REQUEST:,} bytes. Send it in pieces, as the import page "
            "and uploads/ of the REST API do, or use `manage.py import_data`."
        )


def check_size(size: int | None) -> None:
    if size is not None and size > MAX_REQUEST:
        raise TooLarge


def spooled(stream: IO[bytes]) -> IO[bytes]:
    """A request body as a seekable file, on disk once it is large."""
    file = tempfile.SpooledTemporaryFile(max_size=2_000_000)  # noqa: SIM115 (the caller's)
    while chunk := stream.read(CHUNK):
        file.write(chunk)
        check_size(file.tell())
    file.seek(0)
    return file
