"""Archives and folders, taken apart; names of members are shown and never used as paths."""

from __future__ import annotations

import io
import os
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import zstandard

from annotate.importing.files import bounded_streams
from annotate.importing.files.bounded_streams import Budget, Part, unpacked
from annotate.importing.limits import BOMB_RATIO, BOMB_SIZE, CHUNK, MAX_MEMBERS
from annotate.importing.problems import Unreadable

GZIP, ZSTD, ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
SKIPPED = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""A frame without data, with which pzstd begins."""
EMPTY_ZIP = b"PK\x05\x06"
MAX_WINDOW = 1 << 27
"""Bytes that zstd may look back, which it keeps in memory; its command line has the same bound."""
WIDE = (
    "The zstd archive looks back further than 128 MB, which takes more memory than an import may: "
    "it was made with --long=28 or more. Unpack it, or pack it again with --long=27."
)
PIECE = 1024
"""Bytes that are unpacked at once, of which there may be 1,000 for each in gzip, 30,000 in zstd."""
MAX_EMPTY_FRAMES = 10_000
MAX_DIRECTORY = 4_000_000
"""Bytes of a ZIP archive's directory, all of which zipfile makes objects of."""
MAX_TAR_HEADER = 1_000_000
OFFICE = {
    "xl/": "This is an Excel workbook (XLSX). Save the sheet as CSV (UTF-8).",
    "word/": "This is a Word document. Save the rows as CSV or JSON lines.",
    "ppt/": "This is a PowerPoint file. Save the rows as CSV or JSON lines.",
}
OPEN_DOCUMENT = (
    "This is an OpenDocument file (ODS, ODT), as LibreOffice writes it. Save the sheet as CSV "
    "(UTF-8)."
)
IWORK = "This is a document of Apple Numbers, Pages or Keynote. Export the table as CSV."


class Opened(NamedTuple):
    """A file taken apart."""

    parts: list[Part]
    packing: str
    """ZIP, tar, folder; "" of a single file."""
    left_out: list[str]
    """Members that are no files: links, devices."""


def taken_apart(part: Part) -> Opened:
    """A part without its compression; the members of it where it is an archive."""
    part = decompressed(part)
    start = part.start(512)
    if start.startswith((ZIP, EMPTY_ZIP)):
        return _zip(part)
    if is_tar(start):
        return _tar(part)
    return Opened([part], "", [])


def decompressed(part: Part) -> Part:
    """The part as it is under gzip or zstd."""
    start = part.start(4)
    for signature, kind, layer in ((GZIP, "gzip", _gunzip), (ZSTD, "zstd", _unzstd)):
        if start.startswith(signature) or (kind == "zstd" and SKIPPED.match(start)):
            packing = [kind, *part.packing]
            opener = _under(part, kind, layer)
            return Part(
                part.name, part.size, opener, part.share, part.budget, part.closing, packing
            )
    return part


def _under(
    part: Part, kind: str, layer: Callable[[IO[bytes]], IO[bytes]]
) -> Callable[[], IO[bytes]]:
    def opener() -> IO[bytes]:
        taken = 0
        source = part.opener()

        def read(size: int) -> bytes:
            nonlocal taken
            piece = source.read(min(size, CHUNK))
            taken += len(piece)
            return piece

        packed = cast(IO[bytes], bounded_streams.buffered(read))
        return unpacked(layer(packed), kind, lambda: taken, part.name)

    return opener


def _gunzip(packed: IO[bytes]) -> IO[bytes]:
    """Members one after the other. gzip.GzipFile reads a header byte by byte, however long the
    name in it is, and goes through empty members without a pause."""
    return _frames(packed, "gzip", lambda: zlib.decompressobj(wbits=31))


def _unzstd(packed: IO[bytes]) -> IO[bytes]:
    """Frames one after the other. zstandard's own stream takes a cut file for a whole one."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return _frames(packed, "zstd", decompressor.decompressobj)


def _frames(packed: IO[bytes], kind: str, begin: Callable[[], Any]) -> IO[bytes]:
    """The contents of frames that `begin` makes decompressors for. Some are empty, many no data."""
    frame, rest, begun, empty = begin(), io.BytesIO(), False, 0

    def read(size: int) -> bytes:
        nonlocal frame, rest, begun, empty
        while not (ready := rest.read(size)):
            piece = packed.read(PIECE)
            if not piece and begun:
                raise EOFError("it was cut off")
            if not piece:
                break
            given = []
            while piece:
                if not begun and kind == "gzip" and not (piece := piece.lstrip(b"\0")):
                    break  # Tapes and some servers fill the end of gzip with zeros.
                try:
                    given.append(frame.decompress(piece))
                except zstandard.ZstdError as error:
                    if "too much memory" not in str(error):
                        raise
                    raise Unreadable(WIDE) from error
                begun, piece = not frame.eof, frame.unused_data
                empty = 0 if given[-1] else empty + frame.eof
                if empty > MAX_EMPTY_FRAMES:
                    raise Unreadable(
                        f"The {kind} archive holds more than {MAX_EMPTY_FRAMES:,} empty parts in "
                        "a row. This is no data."
                    )
                if frame.eof:
                    frame = begin()
            rest = io.BytesIO(b"".join(given))
        return ready

    return cast(IO[bytes], bounded_streams.buffered(read))


def is_tar(start: bytes) -> bool:
    return start[257:262] == b"ustar"


def is_archive(start: bytes) -> bool:
    return start.startswith((ZIP, EMPTY_ZIP)) or is_tar(start)


# ZIP


def _zip(part: Part) -> Opened:
    file = part.seekable
    if _directory_size(file) > MAX_DIRECTORY:
        raise Unreadable(f"The ZIP archive holds more than {MAX_MEMBERS:,} files.")
    try:
        archive = part.closing.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, OSError, ValueError, struct.error) as error:
        raise Unreadable(f"The ZIP archive is damaged: {error}.") from error
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_number(len(infos))
    # Many entries of one compressed file unpack to any size.
    if sum(info.compress_size for info in infos) > file.seek(0, io.SEEK_END):
        raise Unreadable("The ZIP archive is damaged: the files in it overlap.")
    names = [info.filename for info in infos]
    if "[Content_Types].xml" in names:
        for folder, message in OFFICE.items():
            if any(name.startswith(folder) for name in names):
                raise Unreadable(message)
    if {"mimetype", "content.xml"} <= set(names):
        raise Unreadable(OPEN_DOCUMENT)
    if any(name.endswith(".iwa") for name in names):
        raise Unreadable(IWORK)
    if any(name.endswith("/data.pkl") for name in names):
        raise Unreadable("This is a PyTorch checkpoint, which may run code. Save the rows instead.")
    members = [_zipped(part, archive, info) for info in infos]
    return Opened(members, "ZIP", [])


def _directory_size(file: IO[bytes]) -> int:
    """Bytes of the directory as its end tells, which is what zipfile reads."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 66_000))
    end = file.read()
    # As zipfile looks for it: a record without a comment first, whatever its fields spell.
    plain = end[-22:].startswith(EMPTY_ZIP) and end.endswith(b"\0\0")
    at = len(end) - 22 if plain else end.rfind(EMPTY_ZIP)
    if at < 0 or at + 20 > len(end):
        return 0
    directory: int = struct.unpack_from("<L", end, at + 12)[0]
    if end[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        file.seek(max(0, size - len(end) + at - 20 - 56))
        longer = file.read(56)  # The end of an archive of 4 GB or 65,535 files, before the other.
        if longer.startswith(b"PK\x06\x06"):
            directory = struct.unpack_from("<Q", longer, 40)[0]
    return directory


def _zipped(part: Part, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Part:
    name = shown(info.filename)
    given = [0]

    def opener() -> IO[bytes]:
        if info.flag_bits & 1:
            raise Unreadable(f"{name}: it is locked with a password. Unpack the archive first.")
        # Others unpack a small input to gigabytes at once, before anybody can count.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(f"{name}: the archive is not compressed by Deflate. Unpack it first.")
        # No more is unpacked than is told here.
        if info.file_size > max(BOMB_SIZE, BOMB_RATIO * info.compress_size):
            raise Unreadable(
                f"{name}: it unpacks to {info.file_size:,} bytes, more than {BOMB_RATIO} times its "
                "size. This is no data."
            )
        try:
            source = archive.open(info)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise Unreadable(f"{name}: the ZIP archive is damaged: {error}.") from error
        given[0] = 0

        def read(size: int) -> bytes:
            try:
                piece = source.read(min(size, CHUNK))
            except zipfile.BadZipFile as error:  # The checksum at the end.
                raise Unreadable(f"{name}: the ZIP archive is damaged: {error}.") from error
            given[0] += len(piece)
            return piece

        packed = cast(IO[bytes], bounded_streams.buffered(read))
        return unpacked(packed, "ZIP", lambda: info.compress_size, name)

    def share() -> float:
        return min(1.0, given[0] / info.file_size) if info.file_size else 1.0

    return Part(name, info.compress_size, opener, share, part.budget, part.closing)


# tar


class _Forward(io.RawIOBase):
    """A stream for tarfile, which asks to seek and only ever goes forward here.

    tarfile reads a header of any length into memory; here a piece has a bound.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self._at, self.newest = stream, 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._at:
            raise OSError("the archive is not in order")
        while self._at < offset and self.read(min(CHUNK, offset - self._at)):
            pass
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_TAR_HEADER:
            raise Unreadable("The tar archive has a header of more than a megabyte.")
        piece = self._stream.read(size)
        self._at += len(piece)
        self.newest = piece
        return piece


def _tar(part: Part) -> Opened:
    """The members, copied one after the other into one temporary file without a name."""
    spool = cast(IO[bytes], part.closing.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115 (closed with the source)
    members, left_out = [], []
    try:
        stream = _Forward(part.stream())
        with tarfile.open(fileobj=cast(Any, stream), mode="r:") as archive:
            for number, info in enumerate(archive, 1):
                _check_number(number)
                if info.isdir():
                    continue
                source = archive.extractfile(info) if info.isreg() else None
                if source is None or info.issparse():
                    left_out.append(f"{shown(info.name)} (no file of its own)")
                    continue
                members.append(_spooled(part, shown(info.name), source, spool))
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"The tar archive is damaged: {error}.") from error
    # tarfile takes a header that it cannot read for the end, which is a block of zeros.
    if not stream.newest or any(stream.newest):
        raise Unreadable("The tar archive is damaged or was cut off.")
    return Opened(members, " ".join(["tar", *(f"in {kind}" for kind in part.packing)]), left_out)


def _spooled(part: Part, name: str, source: IO[bytes], spool: IO[bytes]) -> Part:
    start = spool.seek(0, io.SEEK_END)
    while piece := source.read(CHUNK):
        spool.write(piece)
    return bounded_streams.part_of(spool, name, part.budget, part.closing, start=start)


# Folders


def folder(path: Path, budget: Budget, closing: ExitStack) -> Opened:
    """The files of a folder and of those in it, by name; hidden ones are passed over."""
    members: list[Part] = []
    for place in sorted(_files(path)):
        _check_number(len(members) + 1)
        file = cast(IO[bytes], _OnDemand(place))
        members.append(
            bounded_streams.part_of(file, shown(str(place.relative_to(path))), budget, closing)
        )
    return Opened(members, "folder", [])


def _files(path: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


class _OnDemand:
    """A file that is open only while it is read: a folder may hold more than a process may open."""

    def __init__(self, path: Path) -> None:
        self.path, self._at = path, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (self.path.stat().st_size if whence == io.SEEK_END else 0)
        return self._at

    def read(self, size: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self._at)
            return file.read(size)


def _check_number(members: int) -> None:
    if members > MAX_MEMBERS:
        raise Unreadable(f"There are more than {MAX_MEMBERS:,} files in it.")


def shown(name: str, most: int = 200) -> str:
    """A name as it can be shown: a member's, or a column's."""
    text = name.encode(errors="replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)[:most]
