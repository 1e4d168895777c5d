"""Upload a model to a hub: weights as safetensors, configuration, tokenizer and card."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import OfflineModeIsEnabled

from training.rlhf.config import PushJob
from training.rlhf.delivery import model_folder

CARD = "README.md"
RESULT = "pushed.json"


class HubError(RuntimeError):
    """The hub cannot be reached or refuses; the message says why."""


def push(job: PushJob, out: Path, *, scratch: Path) -> dict[str, float]:
    """Upload in one commit and write `out`/pushed.json: the model's address and the commit.

    Args:
        scratch: an adapter that is merged first is written there.

    Returns:
        files and megabytes.

    Raises:
        HubError: no token, no right to write, no network, or a repository that everybody can read
            where a private one was asked for.
        ModelError: an adapter that cannot be merged.
    """
    source = Path(job.folder)
    if job.merge:
        model_folder.save_parts({"model": job.folder}, scratch / "whole")
        source = scratch / "whole" / "model"
    names = () if job.merge else job.files
    files = {name: source / name for name in names or _all(source)}
    files[CARD] = Path(job.card) if job.card else source / CARD
    there = {name: path for name, path in sorted(files.items()) if path.is_file()}
    size = sum(path.stat().st_size for path in there.values()) / 1e6
    api = HfApi()
    try:
        made = api.create_repo(job.repo, private=job.private, exist_ok=True)
        if job.private and not api.repo_info(made.repo_id).private:
            raise HubError(f"{made.repo_id} is there already and public: choose another name")
        done = api.create_commit(
            made.repo_id,
            [CommitOperationAdd(name, path) for name, path in there.items()],
            commit_message=f"Upload {len(there)} files",
        )
    except OfflineModeIsEnabled as error:
        raise HubError("HF_HUB_OFFLINE is set: no hub is reached from here") from error
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise HubError(f"the hub took nothing: {' '.join(str(error).split())}") from error
    address = {"url": str(made), "commit": done.oid}
    (out / RESULT).write_text(json.dumps(address), "utf-8")
    return {"files": float(len(there)), "megabytes": size}


def _all(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_file() and path.name != CARD]
