"""Models that were trained elsewhere become versions: a project's starter, or candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from annotate import exchange
from training.models import LONGEST_PATH, Decision, ModelVersion, Run, RunKind
from training.rlhf.delivery import model_fingerprint
from training.rlhf.delivery.model_folder_checks import Unusable
from training.versions import promotion

if TYPE_CHECKING:
    from django.contrib.auth.models import User

STARTER, CANDIDATE, USE = "starter", "candidate", "use"
"""Roles a model may get: the project's first policy, one to try and compare, or the one in use."""
ADMIN = Decision.By.ADMIN


class Declined(Exception):
    """The model does not become a version; the message says why."""


class Known(Declined):
    """The project has the model already."""

    def __init__(self, version: ModelVersion) -> None:
        super().__init__(f"It is {version.name} of {version.project.slug} already.")
        self.version = version


def next_number(project: exchange.Project) -> int:
    """The number of the next round and of the versions it makes; one that was added has its own.

    Holds while the project is locked.
    """
    numbered = (project.rounds, project.model_versions)
    return 1 + max(rows.aggregate(last=Max("number"))["last"] or 0 for rows in numbered)


def starter(project: exchange.Project) -> ModelVersion | None:
    """The project's first policy."""
    return project.model_versions.policies().filter(number=0).first()


def require_place(project: exchange.Project, make: str) -> None:
    """Raise Declined where a model cannot become the starter: everything was made from another."""
    first = starter(project)
    if make == STARTER and first is not None and not is_unused(first):
        raise Declined(
            f"The first policy of {project.slug} is {first.location}, and everything since was "
            "made from it. Add the model as a candidate, or begin another project."
        )


def is_unused(first: ModelVersion) -> bool:
    """True of a starter from which nothing was made yet: another may take its place."""
    used = (RunKind.ROUND, RunKind.FIRST_PAIRS, RunKind.COMPARE, RunKind.COMPLETIONS)
    return not Run.objects.filter(project=first.project_id, kind__in=used).exists()


def known(project: exchange.Project, path: str, kind: str = "") -> ModelVersion | None:
    """The project's version whose weights these are."""
    versions = project.model_versions.filter(pruned_at=None)
    if kind:
        versions = versions.filter(kind=kind)
    return next((one for one in versions if _same(one.location, path)), None)


def _same(one: str, other: str) -> bool:
    return one == other or (Path(one).is_absolute() and Path(one).resolve() == Path(other))


def checks(project: exchange.Project) -> QuerySet[Run]:
    """The project's checks of models, the latest first."""
    return Run.objects.filter(project=project, kind=RunKind.CHECK).order_by("-pk")


def check_of(version: ModelVersion) -> Run | None:
    """The check by which a version was added; none of those that were added before there were."""
    return checks(version.project).filter(options__version=version.pk).first()


def require_unchanged(version: ModelVersion) -> None:
    """Raise Declined where the folder of a version holds another model than the one checked."""
    check = check_of(version)
    known = check.options["report"].get("fingerprint") if check else None
    folder = Path(version.location)
    if known is None or not folder.is_dir():
        return
    try:
        same = model_fingerprint.fingerprint(folder) == known
    except Unusable as error:
        raise Declined(f"{version.name}: {error}") from error
    if not same:
        raise Declined(
            f"The files in {folder} have changed since {version.name} was checked. Put them back, "
            "or bring the changed model from a folder of its own."
        )


def take(run: Run, report: dict[str, Any]) -> ModelVersion:
    """Make a version of the model that a run has checked, as it was asked for.

    Raises:
        Declined: it is known, or cannot become what it should.
    """
    project, make = run.project, run.options["make"]
    path, kind = str(report["folder"]), str(report["kind"])
    note = " ".join(filter(None, (f"Added from {run.options['from']}.", run.options["note"])))
    with transaction.atomic():
        exchange.lock(project)  # a round that starts beside this takes another number
        if (there := known(project, path, kind)) is not None:
            raise Known(there)
        require_place(project, make)
        if make == STARTER and kind != ModelVersion.POLICY:
            raise Declined(f"It is a {kind} model, and a project begins with a policy.")
        path = _stored(path)
        if make == STARTER:
            return _begin_with(project, path, note=note)
        version = ModelVersion.objects.create(
            project=project,
            kind=kind,
            number=next_number(project),
            path=path,
            parent=starter(project) if kind == ModelVersion.POLICY else None,
            note=note,
        )
        Decision.objects.create(version=version, state=version.state, note=note, decided_by=ADMIN)
        promotion.publish(version)
        if make == USE:
            use(version)
        return version


def use(version: ModelVersion, *, by: User | None = None, reason: str = "") -> ModelVersion:
    """Put a version in use; a project without a starter begins with it, and then holds it twice.

    Returns:
        the version in use.

    Raises:
        Declined: rounds could not go on from it, or it is in use.
    """
    policy = version.kind == ModelVersion.POLICY
    if policy and version.added and starter(version.project) is None:
        return _become_starter(version)
    try:
        promotion.promote(version, by=by, reason=reason or version.note)
    except promotion.Refused as error:
        raise Declined(str(error)) from error
    return version


def _become_starter(version: ModelVersion) -> ModelVersion:
    """Begin a project with a candidate that it has; the candidate is put aside."""
    check = check_of(version)
    if check is not None and check.options["report"].get("template") is False:
        raise Declined(f"{version.name} has no chat template, so rounds cannot train it on chats.")
    with transaction.atomic():
        exchange.lock(version.project)
        first = _begin_with(version.project, version.path, note=version.note)
        promotion.retire(version, note=f"The project begins with it: {first.name}.")
    return first


def _begin_with(project: exchange.Project, path: str, *, note: str) -> ModelVersion:
    """Make a model the first policy; one from which nothing was made gives way."""
    first = starter(project)
    if first is None:
        first = promotion.adopt_starter(project, path)
    else:
        first.path, first.run, first.promoted_at = path, None, timezone.now()
        first.save(update_fields=["path", "run", "promoted_at"])
        promotion.publish(first)
    ModelVersion.objects.filter(pk=first.pk).update(note=note)
    Decision.objects.create(version=first, state=first.state, note=note, decided_by=ADMIN)
    return first


def _stored(path: str) -> str:
    """The path as rows have it: below PAIRLOOP_HOME relative, so that the home can move.

    Raises:
        Declined: it is too long.
    """
    home = Path(settings.HOME).resolve()
    if Path(path).is_relative_to(home):
        path = str(Path(path).relative_to(home))
    if len(path) > LONGEST_PATH:
        raise Declined(f"{path} is longer than {LONGEST_PATH} characters.")
    return path
