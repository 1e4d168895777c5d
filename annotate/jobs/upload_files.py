"""Files of imports on this server: those that were sent here, piece by piece, and those of roots.

Every import has a folder of its own below PAIRLOOP_HOME; names that people gave their files are
kept in the database and never reach the disk.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path, PurePath
from typing import IO, Protocol

from django.conf import settings

from annotate.importing import Unreadable
from annotate.importing.limits import MAX_FILE, MAX_PIECE
from annotate.models import Import

CHUNK = 256 * 1024
SENT, PROBLEMS, FETCHED = "sent", "problems.jsonl", "dataset"


class Refusal(ValueError):
    """Why something asked of an import is not done, in words for who asked."""


class WrongOffset(Refusal):
    """A piece that does not follow what is there; `offset` is where to go on."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"{offset:,} bytes are here; go on from there.")
        self.offset = offset


class Pieces(Protocol):
    def read(self, size: int, /) -> bytes: ...


def folder(import_: Import) -> Path:
    """The import's own folder, made when it is first asked for."""
    path = Path(settings.HOME) / "imports" / str(import_.uuid)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def sent_path(import_: Import) -> Path:
    return folder(import_) / SENT


def fetched_path(import_: Import) -> Path:
    """The files of a dataset that was imported by its name."""
    return folder(import_) / FETCHED


def problems_path(import_: Import) -> Path:
    """The report of all problems, which is there once a pass is done."""
    return folder(import_) / PROBLEMS


def source_of(import_: Import) -> Path:
    """The file or the folder to read. Raises Unreadable when it is not there any more."""
    path = Path(settings.HOME) / import_.path  # An absolute path stays what it is.
    if Path(import_.path).is_absolute() and not import_.foreground:
        # Once more: a link may have been turned round since.
        try:
            path = on_server(import_.path)
        except Refusal as refusal:
            raise Unreadable(str(refusal)) from refusal
    if not import_.path or not path.exists():
        raise Unreadable("The file is not there any more. Send it again.")
    return path


def offset(import_: Import) -> int:
    """Bytes that have arrived."""
    path = sent_path(import_)
    return path.stat().st_size if path.exists() else 0


def add_piece(import_: Import, at: int, pieces: Pieces) -> int:
    """Write what comes behind `at`, and return the new offset; what came before a break is kept.

    Raises WrongOffset, or Refusal for more bytes than were announced.
    """
    with sent_path(import_).open("ab") as file:
        # Two tabs that send the same file: the second finds that it is late.
        fcntl.flock(file, fcntl.LOCK_EX)
        if (here := file.seek(0, os.SEEK_END)) != at:
            raise WrongOffset(here)
        most = min(import_.size, at + MAX_PIECE)
        while chunk := pieces.read(min(CHUNK, most - file.tell() + 1)):
            if file.tell() + len(chunk) > most:
                raise Refusal("The piece is longer than the file, or than a piece may be.")
            file.write(chunk)
        return file.tell()


def keep(import_: Import, file: IO[bytes]) -> int:
    """Store a file that arrived whole, and return its size."""
    with sent_path(import_).open("wb") as target:
        shutil.copyfileobj(file, target, CHUNK)
        return target.tell()


def check_room(size: int) -> None:
    """Raises Refusal for a file that is too large, or for which the disk has no room."""
    if not 0 < size <= MAX_FILE:
        raise Refusal(f"A file of 1 to {MAX_FILE:,} bytes is expected.")
    free = shutil.disk_usage(settings.HOME).free - settings.MIN_FREE_GB * 1e9
    if size > free:
        raise Refusal("There is not enough room on the server's disk for this file.")


def drop_sent(import_: Import) -> None:
    """Remove the file that was sent, or those that were fetched; the report stays."""
    sent_path(import_).unlink(missing_ok=True)
    shutil.rmtree(fetched_path(import_), ignore_errors=True)


def plain_name(name: str) -> str:
    """The name of a file as it can be shown: without folders, and without what cannot be seen."""
    last = PurePath(name.replace("\\", "/")).name
    name = "".join(letter for letter in last if letter.isprintable())[:255].strip()
    return name if name.strip(".") else "file"


def roots() -> list[Path]:
    """The folders of PAIRLOOP_IMPORT_ROOTS that exist, without links."""
    return [Path(root).resolve() for root in settings.IMPORT_ROOTS if Path(root).is_dir()]


def on_server(given: str) -> Path:
    """A file or a folder below one of the roots, without links. Raises Refusal."""
    for root in roots():
        try:
            path = (root / given.strip()).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if path != root and path.is_relative_to(root) and (path.is_file() or path.is_dir()):
            return path
    # The same sentence for what is elsewhere: this is no way to ask what the disk holds.
    raise Refusal("There is no such file in the folders that the server offers for imports.")


def offered(most: int = 200) -> list[str]:
    """Names that a person may choose from: what lies directly in the roots."""
    names = []
    for root in roots():
        try:
            names += sorted(one.name for one in root.iterdir() if not one.name.startswith("."))
        except OSError:
            continue
    return [name for name in dict.fromkeys(names) if plain_name(name) == name][:most]
