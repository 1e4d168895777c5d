"""Reward models that may vote in a project: those that no vote of the project has taught."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from annotate import exchange
from training.models import ModelVersion, Run
from training.rlhf.delivery import model_fingerprint
from training.rlhf.delivery.model_folder_checks import Unusable
from training.versions import added_models

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def offered(user: User) -> list[ModelVersion]:
    """Reward models of this installation that this person may see, newest first in each project."""
    projects = exchange.Project.objects.for_user(user, "reviewer")
    rows = ModelVersion.objects.rewards().filter(project__in=projects, pruned_at=None)
    return list(rows.select_related("project").order_by("project__name", "-number").distinct())


def refusal(version: ModelVersion, project: exchange.Project) -> str:
    """A sentence on why this reward model cannot vote in the project; "" where it can.

    It would repeat what it learnt from the people whose labels it is compared with, and its errors
    would come back as votes.
    """
    if version.kind != ModelVersion.REWARD:
        return f"{version.name} writes replies: choose a reward model."
    if version.pruned_at is not None or not Path(version.location).is_dir():
        return f"The weights of {version.name} are not here."
    behind = [run.project for run in _runs_behind(version)]
    if project in behind:
        return (
            f"{version.name} of {version.project.name} was trained on votes of this project. An "
            "AI annotator has to come from elsewhere: a model of another project, or a chat model."
        )
    for other in {version.project, *behind} - {project}:
        if exchange.shared_voted_pairs(project, other):
            return (
                f"{other.name} holds votes on pairs that this project has votes on, too: "
                f"{version.name} may have been trained on them."
            )
    if twin := _twin(version, project):
        return f"{version.name} is {twin.name} of this project, which its votes have trained."
    try:
        added_models.require_unchanged(version)
    except added_models.Declined as error:
        return str(error)
    return ""


def _runs_behind(version: ModelVersion) -> Iterator[Run]:
    """The runs that made a version, and those that made what it began with, whatever project."""
    waiting, seen = [version.run, *_runs_at([version.location])], set[int]()
    while waiting:
        run = waiting.pop()
        if run is None or run.pk in seen:
            continue
        seen.add(run.pk)
        yield run
        waiting += _runs_at(_texts(run.round.config if run.round else run.options))


def _runs_at(paths: list[str]) -> list[Run]:
    """The runs in whose folders these paths lie."""
    home = Path(settings.HOME, "runs").resolve()
    uuids = set[UUID]()
    for path in paths:
        if path and (place := Path(settings.HOME, path).resolve()).is_relative_to(home):
            with_run = place.relative_to(home).parts[:1]
            uuids |= {UUID(name) for name in with_run if _is_uuid(name)}
    return list(Run.objects.filter(uuid__in=uuids).select_related("round", "project"))


def _is_uuid(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


def _texts(value: object) -> list[str]:
    """Every text in settings, however deep: paths of models are among them."""
    if isinstance(value, str):
        # Longer ones are no paths, and some systems refuse to look at them as such.
        return [value] if "/" in value and len(value) < 1000 and "\0" not in value else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]


def _twin(version: ModelVersion, project: exchange.Project) -> ModelVersion | None:
    """A reward model that the project's rounds trained, of the same weights: somebody may have
    taken it out and brought it back."""
    own = project.model_versions.rewards().exclude(run=None).filter(pruned_at=None)
    mark = _fingerprint(version)
    return next((one for one in own if mark and _fingerprint(one) == mark), None)


def _fingerprint(version: ModelVersion) -> str:
    try:
        return model_fingerprint.fingerprint(Path(version.location))
    except (Unusable, OSError):
        return ""
