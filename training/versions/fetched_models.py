"""Models of a hub that were fetched to be checked: which are in use, and the removal of others.

Folders of this kind are named OWNER--NAME-COMMIT, as training.rlhf.delivery.hub_download does;
whatever else lies below PAIRLOOP_HOME/models is somebody's own, and stays.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from training.models import ModelVersion, Run, RunKind
from training.rlhf.delivery import model_folder_checks

_NAME = re.compile(r"(?P<repo>[^/]+--[^/]+)-[0-9a-f]{12}")
State = Run.State


def unused() -> list[Path]:
    """Folders that no version of any project uses, and no check that is live or may go on."""
    used, wanted = set(_used()), set(_wanted())
    folders = sorted((Path(settings.HOME) / "models").glob("*--*-*"))
    named = [(folder, _NAME.fullmatch(folder.name)) for folder in folders if folder.is_dir()]
    return [
        folder
        for folder, match in named
        if match is not None and match["repo"] not in wanted and folder.resolve() not in used
    ]


def sweep() -> None:
    """Remove them, and what checks fetched in part before their projects' last one."""
    for folder in unused():
        gone = folder.with_name(f".{uuid.uuid4().hex}")
        try:
            folder.rename(gone)  # at once: nobody takes half of it for a model
        except OSError:
            continue  # another sweep is ahead of this one
        shutil.rmtree(gone, ignore_errors=True)
    last = _last()
    for run in _ended():
        if run.pk not in last:
            shutil.rmtree(run.directory / "checkpoints", ignore_errors=True)


def _used() -> Iterator[Path]:
    """Folders of versions, and of the models that these adapt."""
    for version in ModelVersion.objects.all():
        folder = Path(version.location)
        yield folder.resolve()
        try:
            yield model_folder_checks.folder_of_base(folder).resolve()
        except model_folder_checks.Unusable:
            continue


def _wanted() -> Iterator[str]:
    """Repositories of checks under way, and of those that were cancelled last: they may go on."""
    last = _last()
    for run in Run.objects.filter(kind=RunKind.CHECK).exclude(state__in=(State.DONE, State.FAILED)):
        if run.state != State.CANCELLED or run.pk in last:
            yield from (
                source["hub"].replace("/", "--")
                for source in run.options["sources"]
                if "hub" in source
            )


def _ended() -> Iterator[Run]:
    ended = Run.objects.filter(kind=RunKind.CHECK, state__in=(State.FAILED, State.CANCELLED))
    yield from ended.only("uuid")


def _last() -> set[int]:
    """The last check of each project."""
    checks = Run.objects.filter(kind=RunKind.CHECK).order_by("pk")
    return set(dict(checks.values_list("project_id", "pk")).values())
