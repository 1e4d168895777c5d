"""Which files of former rounds may go: the checkpoints of finished runs, the weights of versions
that nothing can return to.

What stays: promoted versions and the ones they would fall back to, the starter, every version
that waits for an admin, the newest few of each kind, and of every run its inputs, metrics,
completions and features. Rows are never deleted, so lineage and figures outlive the weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from training.models import ModelVersion, Run

KEEP = 3
"""Newest versions of each kind whose weights stay, besides those in use."""


@dataclass(frozen=True)
class Removal:
    """A folder that may go, what it is, and its size in bytes."""

    folder: Path
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
            yield Removal(folder, f"checkpoints of {run.round or run.kind}", _size(folder))


def _weights(project: Any, keep: int) -> Iterator[Removal]:
    if project.rounds.live().exists():
        # It may have begun with a version that is retired by now.
        return
    for kind in (ModelVersion.POLICY, ModelVersion.REWARD):
        versions = list(ModelVersion.objects.filter(project=project, kind=kind, pruned_at=None))
        needed = _needed(versions, keep)
        for version in versions[keep:]:
            folder = Path(settings.HOME) / version.path
            # Versions from a hub or from elsewhere on the disk are not ours to remove.
            if version.pk not in needed and version.run_id and folder.is_dir():
                yield Removal(folder, f"weights of {version.name}", _size(folder), version)


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
    if removal.version is None:
        shutil.rmtree(removal.folder)
        return True
    with transaction.atomic():
        # Marked before the files go: a version without weights must never look usable.
        marked = (
            ModelVersion.objects.filter(pk=removal.version.pk, state=ModelVersion.State.RETIRED)
            .filter(pruned_at=None)
            .update(pruned_at=timezone.now())
        )
    if marked:
        shutil.rmtree(removal.folder)
    return bool(marked)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
