"""A file as a source of rows, whatever it is packed in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from annotate.importing.files import archives, bounded_streams, saved_datasets
from annotate.importing.files.bounded_streams import Budget, Part
from annotate.importing.files.readers import Place, Reader
from annotate.importing.files.recognition import reader_of
from annotate.importing.problems import Refused, Unreadable

DATA = re.compile(
    r"\.(?:jsonl?|ndjson|csv|tsv|tab|parquet|pq|arrow|feather|gz|zst)$", re.IGNORECASE
)
"""Names of files that must be readable, in an archive with others."""
ASIDE = re.compile(
    r"(?:^|/)(?:\.[^/]*|__MACOSX/.*|[^/]*(?:readme|licen[sc]e|notice|copying|changelog|citation|"
    r"manifest|checksums?|sha256sums?|md5sums?)[^/]*|(?:dataset_infos?|state|dataset_dict|config|"
    r"croissant|package)\.json|[^/]*\.(?:md|rst|html?|pdf|docx?|py|ipynb|sh|ya?ml|toml|cfg|lock|"
    r"png|jpe?g|gif|svg|bib|tex|log|sha256|md5|crc))$",
    re.IGNORECASE,
)
"""Names of files that stand beside data."""


NESTED = "An archive within an archive. Unpack the outer one, and import what is in it."


@dataclass
class Member:
    """Files whose rows are numbered as one: a file, or the shards of a split."""

    label: str
    readers: list[Reader]
    size: int


@dataclass
class Source:
    """The recognised file, and its rows, readable again and again."""

    format: str
    """In words for people: "CSV with semicolons, Windows-1252, in gzip"."""
    columns: list[str] | None
    """Of tables, known before the first row."""
    left_out: list[str] = field(default_factory=list)
    """Members of an archive or folder that hold no rows, by name: README.md."""
    unit: str = "line"
    """The thing that Place.line counts: "line" or "row"."""
    encoding: str = ""
    """Python's name of the one that the text was read in, where it is not UTF-8."""
    encoding_asked: bool = False
    """Somebody has to say first whether it is that one."""
    _members: list[Member] = field(default_factory=list, repr=False)
    _budget: Budget = field(default_factory=lambda: Budget(None), repr=False)
    _done: int = field(default=0, repr=False)
    _now: Reader | None = field(default=None, repr=False)
    _now_size: int = field(default=0, repr=False)

    def rows(self) -> Iterator[tuple[Place, dict[str, Any] | Refused]]:
        """Place and row, in the order of the file; Refused stands for a row that cannot be read.

        Raises Unreadable where the file cannot be read on.
        """
        self._budget.spent, self._done = 0, 0
        for member in self._members:
            before, number = 0, 0
            for reader in member.readers:
                self._now, self._now_size = reader, reader.part.size
                try:
                    for place, row in reader.rows():
                        number = before + place.line
                        file = "/".join(filter(None, (member.label, place.file)))
                        yield Place(file, number), row
                except Unreadable as error:
                    if not member.label or str(error).startswith(member.label):
                        raise
                    raise Unreadable(f"{member.label}: {error}") from error
                self._done += reader.part.size
                self._now = None
                before = number

    def progress(self) -> float:
        """The share of the bytes that has been read, 0 to 1."""
        total = sum(member.size for member in self._members)
        now = self._now.share() * self._now_size if self._now is not None else 0.0
        return min(1.0, (self._done + now) / total) if total else 1.0


@contextmanager
def opened(
    file: IO[bytes] | Path, *, name: str = "", max_bytes: int | None = None, encoding: str = ""
) -> Iterator[Source]:
    """The rows of a seekable file, of a file's path or of a folder's, recognised by the content.

    `name` is a file's own name, for the few texts whose content does not say enough. `max_bytes`
    bounds what one reading may unpack. `encoding` is that of texts, where a person has chosen it.
    Raises Unreadable with a sentence that says what is wrong
    with the file, and where; the same while rows are read.
    """
    with ExitStack() as closing:
        budget = Budget(max_bytes)
        if isinstance(file, Path) and file.is_dir():
            content = archives.folder(file, budget, closing)
        else:
            if isinstance(file, Path):
                name = name or file.name
                file = closing.enter_context(file.open("rb"))
            content = archives.taken_apart(bounded_streams.part_of(file, "", budget, closing))
        yield _source(content, name, budget, encoding)


def _source(content: archives.Opened, name: str, budget: Budget, encoding: str) -> Source:
    if not content.packing:
        (part,) = content.parts
        reader = reader_of(part, name, encoding)
        packing = "".join(f", in {kind}" for kind in part.packing)
        members = [Member("", [reader], part.size)]
        source = Source(
            reader.title + packing,
            reader.columns,
            [],
            reader.unit,
            _members=members,
            _budget=budget,
        )
        return _with_encoding(source)
    saved, aside = saved_datasets.splits(content.parts)
    if saved:
        members = [
            Member(
                label, [reader_of(p, p.name, encoding) for p in files], sum(p.size for p in files)
            )
            for label, files in saved.items()
        ]
    else:
        members, aside = _members(content.parts, encoding)
    return _with_encoding(_joined(members, content, aside, budget))


def _with_encoding(source: Source) -> Source:
    """The source with what its texts were read in: as the first of them that is not UTF-8."""
    readers = [reader for member in source._members for reader in member.readers]
    told = next((one for one in readers if one.encoding), None)
    if told:
        source.encoding = told.encoding
        source.encoding_asked = any(one.encoding_asked for one in readers)
    return source


def _members(files: list[Part], encoding: str) -> tuple[list[Member], list[str]]:
    members, aside = [], []
    for part in files:
        if ASIDE.search(part.name):
            aside.append(part.name)
            continue
        try:
            inner = archives.decompressed(part)
            if archives.is_archive(inner.start(512)):
                raise Unreadable(NESTED)
            members.append(Member(part.name, [reader_of(inner, part.name, encoding)], part.size))
        except Unreadable as error:
            if DATA.search(part.name):
                raise _named(part.name, error) from error
            aside.append(f"{part.name} ({error})")
    # Beside what votes come to together, the votes themselves: an import leaves out the former
    # where it knows the latter.
    return sorted(members, key=lambda member: not _holds_votes(member)), aside


def _holds_votes(member: Member) -> bool:
    """True of our own export of votes."""
    (reader,) = member.readers
    columns: Iterable[str] = reader.columns or ()
    if reader.columns is None and "vote" in member.label.lower():
        with suppress(Unreadable):  # Who reads the rows is told.
            _, row = next(reader.rows(), (None, None))
            columns = row if isinstance(row, dict) else ()
    return "vote_id" in columns


def _named(name: str, error: Unreadable) -> Unreadable:
    return error if str(error).startswith(name) else Unreadable(f"{name}: {error}")


def _joined(
    members: list[Member], content: archives.Opened, aside: list[str], budget: Budget
) -> Source:
    left_out = [*content.left_out, *aside]
    if not members:
        told = f" It holds {', '.join(left_out[:5])}." if left_out else ""
        raise Unreadable(f"The {content.packing} holds no file of rows.{told}")
    readers = [reader for member in members for reader in member.readers]
    by_format = {
        reader.title.split()[0].rstrip(","): f"{member.label} ({reader.title})"
        for member in members
        for reader in member.readers
    }
    if len(by_format) > 1:
        raise Unreadable(
            f"The {content.packing} holds files of several formats: "
            f"{', '.join(by_format.values())}. Import them one by one."
        )
    columns = None
    if all(reader.columns is not None for reader in readers):
        columns = list(dict.fromkeys(name for reader in readers for name in reader.columns or []))
    number = f"{len(readers):,} files" if len(readers) > 1 else "one file"
    place = "a folder" if content.packing == "folder" else content.packing
    words = f"{readers[0].title}, {number} in {place}"
    return Source(words, columns, left_out, readers[0].unit, _members=members, _budget=budget)
