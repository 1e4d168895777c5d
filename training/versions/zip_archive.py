"""A model folder as a zip that is written while it is sent: memory does not grow with the model.

Only what a model may consist of leaves: weights as safetensors, configuration, tokenizer, card. No
pickles, no optimiser state, no text but vocabularies.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from training.models import ModelVersion
from training.versions import model_cards

KEPT = {".safetensors", ".json", ".jinja", ".model"}
NAMED = {"vocab.txt", "merges.txt", "LICENSE", "LICENSE.md", "NOTICE"}
STATES = {"trainer_state.json", "optimizer.safetensors", "scheduler.json"}
CARD, BASE = "README.md", "base"
CHUNK = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Date of every entry, so that the same model gives the same bytes."""


class NotHere(Exception):
    """The version's weights are not on this machine; the message says where they are."""


def folder_of(version: ModelVersion) -> Path:
    """The folder with the version's weights.

    Raises:
        NotHere: they were pruned, are on a hub, or on another machine.
    """
    folder = Path(version.location)
    if version.pruned_at is not None:
        raise NotHere(f"The weights of {version.name} were removed to save space.")
    if folder.is_dir() and folder.is_absolute():
        return folder
    if not version.run_id:
        raise NotHere(f"{version.name} is {version.path}: get it from where it came from.")
    raise NotHere(f"The folder of {version.name} is not on this machine: {version.path}")


def files(folder: Path) -> list[Path]:
    """The files of a model that may leave, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and (path.suffix in KEPT or path.name in NAMED)
        and path.name not in STATES
    )


def stream(version: ModelVersion, folder: Path) -> Iterator[bytes]:
    """The zip in pieces: one folder named after the version, its card as README.md.

    An adapter whose base is a folder of this machine brings it along, in a folder inside.
    """
    root = f"{version.project.slug}-{version.name}"
    sink = _Sink()
    # Weights do not compress: storing them costs no time.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        yield from _write(
            archive, sink, f"{root}/{CARD}", io.BytesIO(model_cards.card(version).encode())
        )
        folders = _with_bases(folder)
        for depth, part in enumerate(folders):
            name, adapts = "/".join([root, *[BASE] * depth]), depth < len(folders) - 1
            yield from _folder(archive, sink, part, name, adapts=adapts)
    yield sink.take()


def _with_bases(folder: Path) -> list[Path]:
    """An adapter's folder and the chain of bases below it; a whole model's folder alone."""
    folders = [folder.resolve()]
    while (base := local_base(folders[-1])) is not None and base not in folders:
        folders.append(base)
    return folders


def _folder(
    archive: zipfile.ZipFile, sink: _Sink, folder: Path, name: str, *, adapts: bool = False
) -> Iterator[bytes]:
    """One folder's files; those of an adapter then name their base as it lies in the archive."""
    for path in files(folder):
        if adapts and path.name == "adapter_config.json":
            config = json.loads(path.read_text("utf-8")) | {"base_model_name_or_path": BASE}
            text = json.dumps(config, indent=2)
            yield from _write(archive, sink, f"{name}/{path.name}", io.BytesIO(text.encode()))
        else:
            with path.open("rb") as file:
                yield from _write(archive, sink, f"{name}/{path.name}", file)


def local_base(folder: Path) -> Path | None:
    """The folder that an adapter adapts; None where that is the id of a hub."""
    config = folder / "adapter_config.json"
    if not config.is_file():
        return None
    named = json.loads(config.read_text("utf-8")).get("base_model_name_or_path") or ""
    base = (folder / named).resolve()
    # An adapter from elsewhere may name any folder; only a model's is one to send.
    settings = any((base / name).is_file() for name in ("config.json", "adapter_config.json"))
    return base if named and settings and any(base.glob("*.safetensors")) else None


def _write(
    archive: zipfile.ZipFile, sink: _Sink, name: str, source: io.BufferedIOBase
) -> Iterator[bytes]:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK):
            target.write(chunk)
            yield sink.take()


class _Sink(io.RawIOBase):
    """Target of the archive; it holds no more than came since the last `take`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._parts.append(piece)
        return len(piece)

    def take(self) -> bytes:
        piece, self._parts = b"".join(self._parts), []
        return piece
