"""Datasets by name: their files are brought here, from the Hugging Face hub or a folder of this
server, and then read as any folder is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from annotate.importing import Unreadable
from annotate.importing.limits import MAX_DATASET_FILES, MAX_FILE
from annotate.jobs.upload_files import Refusal, check_room, on_server

DATA = re.compile(r"\.(?:parquet|arrow|jsonl?|ndjson|csv|tsv)(?:\.(?:gz|zst))?$", re.IGNORECASE)
"""Names of files that may hold rows."""
BESIDE = re.compile(
    r"(?:^|/)(?:dataset_infos?|state|dataset_dict|config|package)\.json$", re.IGNORECASE
)
"""Files of the same kinds that hold none."""
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
PART = re.compile(r"[\w.+-]{1,100}", re.ASCII)
COMPLETE = ".complete"
"""Written beside the files once all of them are here."""
Told = Callable[[float], None]
"""Told the share of the bytes that are here, before each file; raises to stop."""


@dataclass(frozen=True)
class Dataset:
    """A dataset by the name that its owner gave it, and the part of it that is wanted."""

    name: str
    config: str = ""
    split: str = ""
    revision: str = ""

    def as_options(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def folder_name(self) -> str:
        return "--".join(self.as_options().values()).replace("/", "--")


class Listed(NamedTuple):
    """A file of a dataset."""

    path: str
    size: int


class Place(Protocol):
    """Somewhere that datasets lie."""

    def files(self) -> tuple[list[Listed], dict[str, list[str]]]:
        """All files, and the patterns of each config where the dataset says so itself."""

    def bring(self, file: Listed, to: Path) -> None:
        """Put one file below a folder, under its own path."""


OPENED = "set HF_TOKEN and PAIRLOOP_HUB_PRIVATE=1 for the worker"
"""The way to what is not public; the command asks for the first alone."""


def named(name: str, config: str = "", split: str = "", revision: str = "") -> Dataset:
    """The dataset that somebody asks for. Raises Refusal for what can be none."""
    name = name.strip().removeprefix("https://huggingface.co/datasets/").strip("/")
    if not NAME.fullmatch(name) or ".." in name:
        raise Refusal("A dataset is named OWNER/NAME, as on the hub.")
    parts = {"config": config.strip(), "split": split.strip(), "revision": revision.strip()}
    for what, value in parts.items():
        if value and (not PART.fullmatch(value) or value.strip(".") == ""):
            raise Refusal(f"The {what} {value[:40]!r} is no name.")
    return Dataset(name, **parts)


def fetch(dataset: Dataset, to: Path, told: Told, *, with_token: bool) -> Path:
    """Bring the dataset's files of rows below a folder; what is there already is not sent again.

    Args:
        with_token: HF_TOKEN may open what is not public. It is the operator's, so whoever asks for
            the dataset has to be the operator, or allowed to read what they can.

    Raises Unreadable with a sentence that says what is wrong, Refusal without room for it.
    """
    if (to / COMPLETE).exists():
        return to
    place = _place_of(dataset, with_token)
    files, configs = place.files()
    chosen = choose(files, configs, dataset)
    check_room(sum(file.size for file in chosen))
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    total, here = sum(file.size for file in chosen) or 1, 0
    for file in chosen:
        told(here / total)
        place.bring(file, to)
        here += file.size
    shutil.rmtree(to / ".cache", ignore_errors=True)  # The hub's notes on what it has sent.
    (to / COMPLETE).touch()
    return to


def choose(
    files: Iterable[Listed], configs: dict[str, list[str]], dataset: Dataset
) -> list[Listed]:
    """The files of rows of the wanted config and split. Raises Unreadable where there is none."""
    chosen = [one for one in files if DATA.search(one.path) and not BESIDE.search(one.path)]
    if not chosen:
        raise Unreadable(f"{dataset.name} has no files of rows (Parquet, Arrow, JSON, CSV, TSV).")
    if dataset.config:
        patterns = configs.get(dataset.config)
        chosen = [one for one in chosen if _is_of_config(one.path, dataset.config, patterns)]
        if not chosen:
            known = f" It has: {', '.join(list(configs)[:20])}." if configs else ""
            raise Unreadable(f"{dataset.name} has no config {dataset.config!r}.{known}")
    if dataset.split:
        word = re.compile(rf"(?:^|[/._-]){re.escape(dataset.split)}(?:[/._-]|$)")
        chosen = [one for one in chosen if word.search(one.path)]
        if not chosen:
            raise Unreadable(f"{dataset.name} has no files of a split {dataset.split!r}.")
    if len(chosen) > MAX_DATASET_FILES or sum(one.size for one in chosen) > MAX_FILE:
        raise Unreadable(
            f"{dataset.name} has {len(chosen):,} files of {sum(one.size for one in chosen):,} "
            f"bytes; at most {MAX_DATASET_FILES:,} files and {MAX_FILE:,} bytes are fetched. "
            "Choose a config or a split."
        )
    return sorted(chosen)


def _is_of_config(path: str, config: str, patterns: list[str] | None) -> bool:
    if patterns is None:
        return config in PurePosixPath(path).parts[:-1]
    return any(fnmatchcase(path, one) for one in patterns)


def _place_of(dataset: Dataset, with_token: bool) -> Place:
    """A folder of that name below the import roots, else the hub."""
    try:
        folder = on_server(dataset.name)
    except Refusal:
        return Hub(dataset, with_token)
    return Folder(folder) if folder.is_dir() else Hub(dataset, with_token)


@dataclass
class Folder:
    """A copy of a dataset on this server."""

    root: Path

    def files(self) -> tuple[list[Listed], dict[str, list[str]]]:
        paths = (
            Path(at) / name for at, _, names in os.walk(self.root) for name in names
        )  # Links to folders are not followed.
        files = [
            Listed(path.relative_to(self.root).as_posix(), path.stat().st_size)
            for path in paths
            if path.is_file() and not path.is_symlink()
        ]
        return files, {}

    def bring(self, file: Listed, to: Path) -> None:
        target = to / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / file.path, target)


@dataclass
class Hub:
    """The Hugging Face hub, or what HF_ENDPOINT names."""

    dataset: Dataset
    with_token: bool

    @property
    def token(self) -> bool | None:
        """None: the one of the environment, if any. False: none, whatever there is."""
        return None if self.with_token else False

    def files(self) -> tuple[list[Listed], dict[str, list[str]]]:
        from huggingface_hub import HfApi  # Loads a client for HTTP, which few processes need.

        info: Any = self._asked(
            lambda: HfApi().dataset_info(
                self.dataset.name,
                revision=self.dataset.revision or None,
                files_metadata=True,
                token=self.token,
            )
        )
        self.dataset = Dataset(**{**asdict(self.dataset), "revision": info.sha or ""})
        files = [Listed(one.rfilename, one.size or 0) for one in info.siblings or []]
        return files, _configs_of_card(getattr(info.card_data, "configs", None))

    def bring(self, file: Listed, to: Path) -> None:
        from huggingface_hub import hf_hub_download

        self._asked(
            lambda: hf_hub_download(
                self.dataset.name,
                file.path,
                repo_type="dataset",
                revision=self.dataset.revision or None,
                local_dir=to,
                token=self.token,
            )
        )

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """The hub's answer. Raises Unreadable in words."""
        from huggingface_hub import errors

        name = self.dataset.name
        try:
            return ask()
        except errors.GatedRepoError as error:
            raise Unreadable(
                f"{name} is open only to those who accepted its terms. Accept them on the hub and "
                f"{OPENED}."
            ) from error
        except errors.RevisionNotFoundError as error:
            raise Unreadable(f"{name} has no revision {self.dataset.revision!r}.") from error
        except errors.RepositoryNotFoundError as error:
            raise Unreadable(
                f"The hub has no dataset {name}, or it is private. To open it, {OPENED}."
            ) from error
        except (errors.HfHubHTTPError, errors.EntryNotFoundError, OSError) as error:
            raise Unreadable(
                f"{name} could not be fetched: the hub does not answer from here, or this machine "
                "is offline. Import a copy of its files instead."
            ) from error


def _configs_of_card(configs: Any) -> dict[str, list[str]]:
    """Config -> patterns of its files, as the dataset's card has them."""
    known: dict[str, list[str]] = {}
    for one in configs if isinstance(configs, list) else []:
        if isinstance(one, dict) and isinstance(one.get("config_name"), str):
            patterns = _patterns(one.get("data_files"))
            if patterns:
                known[one["config_name"]] = patterns
    return known


def _patterns(given: Any) -> list[str]:
    """Patterns of files, from a text, a list, or objects with a `path`."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, dict):
        return _patterns(given.get("path"))
    if isinstance(given, list):
        return [pattern for one in given for pattern in _patterns(one)]
    return []
