"""Parts: single files of rows, plain or out of an archive, that can be read again and again."""

from __future__ import annotations

import codecs
import io
import tempfile
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, Any, cast

import zstandard

from annotate.importing.limits import BOMB_RATIO, BOMB_SIZE, CHUNK, HEAD
from annotate.importing.problems import Unreadable

DAMAGED = (OSError, EOFError, zlib.error, zstandard.ZstdError)
"""Errors of decompressors."""


@dataclass
class Budget:
    """Bytes that one reading of the whole file may give, unpacked."""

    most: int | None
    spent: int = 0

    def spend(self, count: int) -> None:
        self.spent += count
        if self.most is not None and self.spent > self.most:
            raise Unreadable(f"The file holds more than {self.most:,} bytes.")


class Stream(io.RawIOBase):
    """A stream to read from alone, made of a function as of `read(size)`."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def buffered(read: Callable[[int], bytes]) -> io.BufferedReader:
    return io.BufferedReader(Stream(read), CHUNK)


class Window(io.RawIOBase):
    """A piece of a seekable file, with a position of its own: several may read one file."""

    def __init__(self, file: IO[bytes], start: int = 0, size: int | None = None) -> None:
        self._file, self._start, self._at = file, start, 0
        self.size = file.seek(0, io.SEEK_END) - start if size is None else size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = (0, self._at, self.size)[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        piece = self._file.read(max(0, min(len(buffer), self.size - self._at)))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


@dataclass
class Part:
    """One file of rows.

    `name` is "" where it is the whole upload. `opener` gives its bytes from the start, each time
    anew; `share` tells how much of the newest such stream has been read, 0 to 1.
    """

    name: str
    size: int
    """Bytes as they are stored, packed or not."""
    opener: Callable[[], IO[bytes]]
    share: Callable[[], float]
    budget: Budget
    closing: ExitStack
    """Closes what the part opens."""
    packing: list[str] = field(default_factory=list)
    """In words for people, outermost last: "gzip"."""
    origin: tuple[Any, int] | None = None
    """A seekable file and the place in it where the bytes lie, where they do as they are."""

    def stream(self) -> io.BufferedReader:
        """The bytes from the start, counted against the budget."""
        source = self.opener()

        def read(size: int) -> bytes:
            piece = source.read(size)
            self.budget.spend(len(piece))
            return piece

        return buffered(read)

    def start(self, size: int = HEAD) -> bytes:
        """The first bytes."""
        source = self.opener()
        pieces = []
        while size > 0 and (piece := source.read(min(size, CHUNK))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    @cached_property
    def seekable(self) -> IO[bytes]:
        """The bytes as a seekable file: of an archive a copy, in a file without a name."""
        if self.origin is not None:
            return _readable(Window(*self.origin, self.size))
        return self._copy

    def mappable(self) -> tuple[Any, int, int]:
        """A file of the system with the bytes, where in it they begin, and how many they are."""
        if self.origin is not None:
            file, start = self.origin
            path = getattr(file, "path", None)
            if path is not None:
                return self.closing.enter_context(path.open("rb")), start, self.size
            try:
                file.fileno()
                file.flush()
            except (AttributeError, OSError):
                pass  # It is in memory.
            else:
                return file, start, self.size
        size = self._copy.seek(0, io.SEEK_END)
        return self._copy, 0, size

    @cached_property
    def _copy(self) -> IO[bytes]:
        file = cast(IO[bytes], self.closing.enter_context(tempfile.TemporaryFile()))  # noqa: SIM115 (closed with the source)
        stream = self.stream()
        while piece := stream.read(CHUNK):
            file.write(piece)
        file.flush()
        return file


def _readable(window: Window) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(window, CHUNK))


def part_of(
    file: IO[bytes], name: str, budget: Budget, closing: ExitStack, *, start: int = 0
) -> Part:
    """A seekable file from `start` on, as it is."""
    size = Window(file, start).size
    newest: list[Window] = []

    def opener() -> IO[bytes]:
        newest[:] = [Window(file, start, size)]
        return cast(IO[bytes], newest[0])

    def share() -> float:
        return newest[0].tell() / size if newest and size else 0.0

    return Part(name, size, opener, share, budget, closing, origin=(file, start))


def unpacked(
    source: IO[bytes], kind: str, packed_bytes: Callable[[], int], name: str = ""
) -> IO[bytes]:
    """Return what a decompressor gives, with its errors in words; bombs are refused.

    `packed_bytes` tells how many bytes of the archive this has taken so far.
    """
    where = f"{name}: " if name else ""
    given = 0

    def read(size: int) -> bytes:
        nonlocal given
        try:
            piece = source.read(size)
        except DAMAGED as error:
            raise Unreadable(
                f"{where}The {kind} archive is damaged after {given:,} unpacked bytes: {error}."
            ) from error
        given += len(piece)
        if given > BOMB_SIZE and given > BOMB_RATIO * packed_bytes():
            raise Unreadable(
                f"{where}The {kind} archive unpacks to more than {BOMB_RATIO} times its size "
                f"({given:,} bytes so far). This is no data."
            )
        return piece

    return cast(IO[bytes], buffered(read))


def recoded(part: Part, encoding: str) -> Part:
    """The same text in UTF-8."""

    def opener() -> IO[bytes]:
        source = part.opener()
        decoder = codecs.getincrementaldecoder(encoding)()
        taken, rest = 0, b""

        def read(size: int) -> bytes:
            nonlocal taken, rest
            while not rest:
                raw = source.read(min(size, CHUNK))
                try:
                    rest = decoder.decode(raw, final=not raw).encode()
                except UnicodeError as error:
                    raise Unreadable(
                        f"The text is not {encoding.upper()} near byte {taken:,}."
                    ) from error
                taken += len(raw)
                if not raw:
                    break
            piece, rest = rest[:size], rest[size:]
            return piece

        return cast(IO[bytes], buffered(read))

    return Part(part.name, part.size, opener, part.share, part.budget, part.closing, part.packing)
