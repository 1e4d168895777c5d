"""Which files of former rounds may go: the checkpoints of finished runs, the weights of versions
that nothing can return to.

A reward model's judge goes with it.

What stays: promoted versions and the ones they would fall back to, the starter, every version
that waits for an admin, the newest few of each kind, and of every run its inputs, metrics,
completions and features. Rows are never deleted, so lineage and figures outlive the weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models.functions import Coalesce
from django.utils import timezone

from training import serving
from training.models import ModelVersion, Run

KEEP = 3
"""Newest versions of each kind whose weights stay, besides those in use."""
JUDGE = "judge"
"""Folder beside the weights of a reward model."""


@dataclass(frozen=True)
class Removal:
    """Folders that may go, what they are, and their size in bytes."""

    folders: tuple[Path, ...]
    what: str
    size: int
    version: ModelVersion | None = None


def plan(project: Any, *, keep: int = KEEP) -> list[Removal]:
    """What `apply` would remove; nothing is touched.

    Raises:
        ValueError: `keep` is negative.
    """
    if keep < 0:
        raise ValueError("The number of versions to keep cannot be negative.")
    return [*_checkpoints(project), *_weights(project, keep)]


def fingerprint(removals: Iterable[Removal]) -> str:
    """Names a plan: what somebody confirms is what they were shown."""
    shown = [(removal.what, removal.size) for removal in removals]
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


def apply(removals: Iterable[Removal]) -> int:
    """Remove the folders; return the bytes set free.

    A version that came into use since the plan was made is left alone.
    """
    return sum(removal.size for removal in removals if _remove(removal))


def _checkpoints(project: Any) -> Iterator[Removal]:
    """Optimiser states and half-finished stages: only an unfinished run resumes from them."""
    for run in Run.objects.filter(project=project, state=Run.State.DONE).order_by("pk"):
        folder = run.directory / "checkpoints"
        if folder.is_dir():
            what = run.round or run.kind.replace("_", " ")
            yield Removal((folder,), f"checkpoints of {what}", _size(folder))


def _weights(project: Any, keep: int) -> Iterator[Removal]:
    live = project.runs.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING])
    if project.rounds.live().exists() or live.exists():
        # It may have begun with a version that is retired by now, or compare one.
        return
    for kind in (ModelVersion.POLICY, ModelVersion.REWARD):
        versions = list(ModelVersion.objects.filter(project=project, kind=kind))
        needed = _needed([version for version in versions if version.pruned_at is None], keep)
        for version in versions:
            folders = _folders(version)
            if version.pk not in needed and folders:
                yield _removal(version, folders)


def _removal(version: ModelVersion, folders: tuple[Path, ...]) -> Removal:
    judge = " and its judge" if any(folder.name == JUDGE for folder in folders) else ""
    size = sum(map(_size, folders))
    return Removal(folders, f"weights of {version.name}{judge}", size, version)


def _folders(version: ModelVersion) -> tuple[Path, ...]:
    """A version's weights, and beside them what nobody needs without them: a reward model's
    judge, an adapter's merged copy."""
    if not version.run_id:
        return ()  # versions from a hub or from elsewhere on the disk are not ours to remove
    weights = Path(settings.HOME) / version.path
    reward = version.kind == ModelVersion.REWARD
    beside = weights.with_name(JUDGE) if reward else serving.place(version)
    return tuple(folder for folder in (weights, beside) if folder.is_dir())


def _needed(versions: list[ModelVersion], keep: int) -> set[int]:
    """The starter; those in use, those that wait for a decision and the newest `keep`; and all
    that these began with, because one can fall back to it and an adapter cannot do without."""
    by_pk = {version.pk: version for version in versions}
    State = ModelVersion.State
    needed = {version.pk for version in versions if version.number == 0}
    for place, version in enumerate(versions):
        stays = place < keep or version.state in (State.PROMOTED, State.CANDIDATE)
        step = version if stays else None
        while step is not None:
            needed.add(step.pk)
            step = by_pk.get(step.parent_id or 0)
    return needed


def _remove(removal: Removal) -> bool:
    if removal.version is not None and not _mark(removal.version):
        return False
    for folder in removal.folders:
        with contextlib.suppress(FileNotFoundError):  # another prune is ahead of this one
            shutil.rmtree(folder)
    return True


def _mark(version: ModelVersion) -> bool:
    """Note that the weights go, before they do: a version without them must never look usable."""
    rows = ModelVersion.objects.filter(pk=version.pk, state=ModelVersion.State.RETIRED)
    now = timezone.now()
    return bool(rows.update(pruned_at=Coalesce("pruned_at", now)))


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
