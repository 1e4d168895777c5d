"""The promoted policy for other programs: a folder that any server of models loads."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from django.conf import settings

from annotate import exchange
from training.models import ModelVersion
from training.rlhf.config import SaveJob
from training.versions import engine_environment, zip_archive

MERGED = "merged"


class NotServable(Exception):
    """There is no policy to serve, or no folder of it; the message says why."""


def promoted(project: exchange.Project) -> ModelVersion:
    """The policy in use.

    Raises:
        NotServable: the project has none.
    """
    version = ModelVersion.objects.policies().promoted().filter(project=project).first()
    if version is None:
        raise NotServable(f"The project {project.slug} has no policy yet.")
    return version


def location(version: ModelVersion, *, merge: bool) -> str:
    """Folder or hub id of a version.

    Args:
        merge: write an adapter and its base as one model, once; whole models stay where they are.

    Raises:
        NotServable: the weights are not here, or the adapter cannot be merged.
    """
    try:
        folder = zip_archive.folder_of(version)
    except zip_archive.NotHere as error:
        if version.pruned_at is None and not version.run_id:
            return version.path
        raise NotServable(str(error)) from error
    return str(_merged(version) if merge and is_adapter(folder) else folder)


def is_adapter(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()


def place(version: ModelVersion) -> Path:
    """Folder of a version's merged copy, there or not yet: installations may share a home."""
    mark = hashlib.sha256(version.location.encode()).hexdigest()[:12]
    return Path(settings.HOME) / "served" / f"{version.name}-{mark}"


def _merged(version: ModelVersion) -> Path:
    """Let the engine merge an adapter in a process of its own; the second time it is there."""
    home = place(version)
    whole = home / MERGED / version.name
    if whole.is_dir():
        return whole
    home.mkdir(parents=True, exist_ok=True)
    job = SaveJob(parts={version.name: version.location})
    config = engine_environment.write_job(home, job)
    # No shell: the arguments are ours, and paths go through as they are.
    done = subprocess.run(
        engine_environment.command("save", config=config, out=home / MERGED),
        cwd=settings.BASE_DIR,
        env=engine_environment.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not whole.is_dir():
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise NotServable(f"{version.name} cannot be merged: {said[0]}")
    return whole
