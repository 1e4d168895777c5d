"""Models of a hub, brought to a folder of this machine: one commit, and no more files than needed.

Only what a model consists of is fetched: safetensors, settings, tokenizer, card and licence.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, errors, get_hf_file_metadata, hf_hub_download, hf_hub_url
from tqdm.std import tqdm  # type: ignore[import-untyped]

from training.rlhf.delivery.hub_upload import HubError
from training.rlhf.delivery.model_folder_checks import describe_weights

FETCHED = re.compile(
    r"[^/]*\.safetensors|[^/]*\.json|[^/]*\.jinja|[^/]*\.model|vocab\.txt|merges\.txt"
    r"|README\.md|LICEN[CS]E[^/]*|NOTICE",
    re.IGNORECASE,
)
"""Files at the top of a repository that are fetched."""
LEFT = re.compile(r"consolidated.*|.*(?:optimizer|scheduler).*|.*\.index\.bin\.json", re.IGNORECASE)
"""Second copies of the weights, and what training left."""
NOTES = ".cache"
"""Folder in which huggingface_hub notes what it fetched, and keeps what is on its way."""
OPENED = "HF_TOKEN of the worker"
Told = Callable[[int, int], None]
"""Told the bytes that are here, and those in all; it raises to stop."""


def fetch(
    repo: str,
    revision: str,
    *,
    keep: Path,
    scratch: Path,
    told: Told,
    private: bool = False,
    free_gb: float = 1.0,
) -> tuple[Path, str]:
    """Bring a model below `keep`; its folder and commit. One that is there is not sent again, but
    the hub is asked whether it would be: it may have been fetched for others, or been closed since.

    Args:
        scratch: what is on its way lies here, so that the folder appears whole; the next call goes
            on from it.
        private: whether HF_TOKEN may open what is not public: it is the operator's.
        free_gb: gigabytes of the disk that stay free.

    Raises:
        HubError: no network, no such model, not for everybody, no safetensors, or no room.
    """
    # None is the token of the environment; False is none, whatever is there.
    token = None if private else False
    with _said(repo, revision, private=private):
        info: Any = HfApi().model_info(
            repo, revision=revision or None, files_metadata=True, token=token
        )
    # Anybody may read what a gated model consists of: that is no right to its files.
    if not private and (info.gated or info.private):
        raise HubError(_gated(repo, private=False))
    commit = str(info.sha)
    target = keep / f"{repo.replace('/', '--')}-{commit[:12]}"
    files = _chosen(repo, {one.rfilename: int(one.size or 0) for one in info.siblings or []})
    if target.is_dir():
        with _said(repo, revision, private=private):
            get_hf_file_metadata(hf_hub_url(repo, min(files), revision=commit), token=token)
        return target, commit
    total = sum(files.values())
    _require_room(repo, keep, total, free_gb)
    scratch.mkdir(parents=True, exist_ok=True)
    here = 0
    for name, size in files.items():
        with _said(repo, revision, private=private):
            hf_hub_download(
                repo,
                name,
                revision=commit,
                local_dir=scratch,
                token=token,
                tqdm_class=_teller(told, here, total),
            )
        here += size
        told(here, total)
    shutil.rmtree(scratch / NOTES, ignore_errors=True)
    keep.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():  # another project may have fetched the same meanwhile
        scratch.rename(target)
    return target, commit


def _chosen(repo: str, sizes: dict[str, int]) -> dict[str, int]:
    """The files to fetch, with their sizes; small ones first.

    Raises:
        HubError: there are no weights that are read here.
    """
    chosen = {
        name: size
        for name, size in sizes.items()
        if FETCHED.fullmatch(name) and not LEFT.fullmatch(name)
    }
    if not any(name.endswith(".safetensors") for name in chosen):
        held = describe_weights(sizes)
        raise HubError(
            f"{repo} has no weights as safetensors{held}. Only safetensors are read: look for the "
            "original model, or for a copy in that format"
        )
    return dict(sorted(chosen.items(), key=lambda item: item[1]))


def _require_room(repo: str, keep: Path, total: int, free_gb: float) -> None:
    place = next(path for path in (keep, *keep.parents) if path.is_dir())
    free = shutil.disk_usage(place).free / 1e9
    if total / 1e9 > free - free_gb:
        raise HubError(
            f"{repo} has {total / 1e9:.1f} GB, and {max(0.0, free - free_gb):.1f} GB are free "
            "for it on the worker's disk"
        )


def _teller(told: Told, before: int, total: int) -> type[tqdm]:
    """A progress bar that draws nothing and tells the bytes that are here."""

    class Teller(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **(options | {"disable": True}))
            self.here = before + int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> bool | None:
            self.here += int(n or 0)
            told(min(self.here, total), total)
            return None

    return Teller


@contextmanager
def _said(repo: str, revision: str, *, private: bool) -> Iterator[None]:
    """Turn what the hub's client raises into sentences for people."""
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise HubError(
            "HF_HUB_OFFLINE is set: no hub is reached from here. Name a folder instead"
        ) from error
    except errors.GatedRepoError as error:
        raise HubError(_gated(repo, private=private)) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo} has no revision {revision!r}") from error
    except errors.RepositoryNotFoundError as error:
        end = "" if private else f"; one that is private needs the {OPENED}, {PRIVATE}"
        raise HubError(f"the hub has no model {repo}, or it is private{end}") from error
    except (errors.HfHubHTTPError, httpx2.HTTPError, OSError, ValueError) as error:
        text = " ".join(str(error).split())[:200]
        raise HubError(
            f"{repo} could not be fetched: the hub does not answer from here, or this machine is "
            f"offline ({text}). Name a folder instead"
        ) from error


def _gated(repo: str, *, private: bool) -> str:
    may = (
        f"accept its terms on the hub with the account of the {OPENED}"
        if private
        else f"to open it, accept its terms on the hub, and let the {OPENED} be used "
        "(PAIRLOOP_HUB_PRIVATE=1)"
    )
    return f"{repo} is gated, open only to those who accepted its terms: {may}"


PRIVATE = "and an operator who lends it (PAIRLOOP_HUB_PRIVATE=1)"
