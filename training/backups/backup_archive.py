"""The archive of a backup: a tar whose last member lists every other one with its SHA-256.

Written and read as one stream, plain or compressed, so that neither needs room for a second copy.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast

import zstandard

DATABASE = "database"
HOME = "home"
MANIFEST = "manifest.json"
FORMAT = "pairloop-backup"
VERSION = 1
MOST_MANIFEST = 512 * 1024 * 1024
"""Bytes; a list of a million files has about 150 MB."""
DAMAGED = (tarfile.TarError, zstandard.ZstdError, EOFError, gzip.BadGzipFile, OSError)


class Unusable(ValueError):
    """The file is no backup of Pairloop, or not all of one."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A member of the archive; `size` in bytes, `sha256` as hex."""

    size: int
    sha256: str


@dataclass(kw_only=True)
class Manifest:
    """The last member: where the backup is from, and all that it has to hold.

    `engine` is the database's vendor, `migrations` the last applied one of each app, `rows` the
    number of rows of each table, `outside` the folders of models that lie elsewhere and are not in
    it.
    """

    made_at: str
    engine: str
    migrations: dict[str, str]
    rows: dict[str, int]
    outside: list[str] = field(default_factory=list)
    files: dict[str, StoredFile] = field(default_factory=dict)
    format: str = FORMAT
    version: int = VERSION

    def as_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Raise `Unusable` for what is no manifest of a version that is known here."""
        try:
            data: dict[str, Any] = json.loads(content)
            if data["format"] != FORMAT:
                raise Unusable("this is no backup of Pairloop.")
            if data["version"] != VERSION:
                raise Unusable(f"its format has version {data['version']}: use a newer Pairloop.")
            files = {name: StoredFile(**file) for name, file in data.pop("files").items()}
            return cls(**data, files=files)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, Unusable):
                raise
            raise Unusable("its list of files cannot be read.") from error


class _Hashed:
    """A file as tarfile reads it, hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.sha256.update(data)
        return data


class Writer:
    """Adds files to an archive, one after the other, and the manifest at the end."""

    def __init__(self, archive: tarfile.TarFile, manifest: Manifest) -> None:
        self.archive = archive
        self.manifest = manifest

    def add(self, path: Path, name: str) -> bool:
        """Add a file as it is now; False where it has gone meanwhile.

        A log that grows is stored as long as it was when it was opened.
        """
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        with file:
            status = os.fstat(file.fileno())
            member = tarfile.TarInfo(name)
            member.size, member.mtime = status.st_size, int(status.st_mtime)
            member.mode = status.st_mode & 0o777
            hashed = _Hashed(file)
            self.archive.addfile(member, cast(IO[bytes], hashed))
        self.manifest.files[name] = StoredFile(size=member.size, sha256=hashed.sha256.hexdigest())
        return True

    def close(self) -> None:
        """Write the manifest: an archive without one was broken off."""
        content = self.manifest.as_json()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(content), 0o600
        self.archive.addfile(member, io.BytesIO(content))


@contextlib.contextmanager
def writing(path: Path, manifest: Manifest) -> Iterator[Writer]:
    """A new archive that appears under its name once it is whole; compressed as the name says.

    Mode 0600: it holds the secret key, passwords' hashes and private votes.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with _compressing(file, path) as stream:
                with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                    writer = Writer(archive, manifest)
                    yield writer
                    writer.close()
            file.flush()
            os.fsync(file.fileno())
        # Linking, unlike replacing, never takes the place of an older backup.
        os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class Sink(Protocol):
    """The place that each member is written to, or None to only read it."""

    def __call__(
        self, name: str, member: tarfile.TarInfo
    ) -> contextlib.AbstractContextManager[IO[bytes] | None]: ...


def read(path: Path, sink: Sink) -> Manifest:
    """Hand every file to `sink` and return the manifest, against which all were compared.

    Raises:
        Unusable: cut off, damaged, with a member that is missing, changed, or no plain file.
    """
    stored: dict[str, StoredFile] = {}
    try:
        with path.open("rb") as file, _decompressing(file) as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member) if member.isfile() else None
                    if content is None:
                        raise Unusable(f"{member.name} in it is no plain file.")
                    if member.name == MANIFEST:
                        return _compared(_manifest(member, content), stored)
                    name = _safe(member.name)
                    with sink(name, member) as target:
                        stored[name] = _copied(content, target)
    except DAMAGED as error:
        raise Unusable(f"it is cut off or damaged ({error}).") from error
    raise Unusable("it is cut off: its list of files is missing.")


def _copied(content: IO[bytes], target: IO[bytes] | None) -> StoredFile:
    sha256, size = hashlib.sha256(), 0
    while part := content.read(1024 * 1024):
        sha256.update(part)
        size += len(part)
        if target is not None:
            target.write(part)
    return StoredFile(size=size, sha256=sha256.hexdigest())


def _manifest(member: tarfile.TarInfo, content: IO[bytes]) -> Manifest:
    if member.size > MOST_MANIFEST:
        raise Unusable("its list of files cannot be read.")
    return Manifest.from_json(content.read())


def _compared(manifest: Manifest, stored: dict[str, StoredFile]) -> Manifest:
    """Every file that the manifest names was read, as it was written, and no other."""
    for name in sorted(manifest.files.keys() | stored.keys()):
        if manifest.files.get(name) != stored.get(name):
            raise Unusable(f"{name} in it is not what was stored.")
    return manifest


def _safe(name: str) -> str:
    """The name below `database/` or `home/`, unless it leads out of there."""
    parts = PurePosixPath(name).parts
    below = len(parts) > 1 and parts[0] in (DATABASE, HOME)
    if not below or ".." in parts or "\0" in name or "\\" in name or str(Path(*parts)) != name:
        raise Unusable(f"{name!r} in it leads elsewhere.")
    return name


@contextlib.contextmanager
def _compressing(file: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".zst":
        with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
            yield cast(IO[bytes], stream)
    elif path.suffix in (".gz", ".tgz"):
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6) as stream:
            yield cast(IO[bytes], stream)
    else:
        yield file


@contextlib.contextmanager
def _decompressing(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """By the first bytes, so that a renamed file is read as well."""
    first = file.read(4)
    file.seek(0)
    if first == zstandard.FRAME_HEADER:
        with zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as stream:
            yield cast(IO[bytes], stream)
    elif first[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            yield cast(IO[bytes], stream)
    else:
        yield file
