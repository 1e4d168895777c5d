"""Files of former rounds that may go: checkpoints of finished runs, weights of versions that
nothing can return to.

A reward model's judge goes with it.

What stays: promoted versions and the ones they would fall back to, the starter, every version
that waits for an admin, the newest few of each kind, and of every run its inputs, metrics,
completions and features. Models that were fetched of a hub and became no version go as well. Rows
are never deleted, so lineage and figures outlive the weights.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate import exchange
from training.models import ModelVersion, Run, RunKind, Trial
from training.versions import fetched_models, serving

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


@dataclass(frozen=True)
class Plan:
    """Removals, and in sentences what else would go if it were not in use."""

    removals: tuple[Removal, ...]
    held: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(removal.size for removal in self.removals)

    @property
    def fingerprint(self) -> str:
        """Names the plan: what somebody confirms is what they were shown."""
        shown = [(removal.what, removal.size) for removal in self.removals]
        return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


class Changed(Exception):
    """The plan is not the one that was confirmed."""


def plan(project: exchange.Project, *, keep: int = KEEP) -> Plan:
    """The removals that `prune` would make; nothing is touched.

    Raises:
        ValueError: `keep` is negative.
    """
    if keep < 0:
        raise ValueError("The number of versions to keep cannot be negative.")
    removals = [*_checkpoints(project), *_fetched()]
    if busy := _busy(project):
        return Plan(tuple(removals), (busy,))
    versions = list(ModelVersion.objects.filter(project=project))
    tried, held = _with_origins(versions, _tried(project)), []
    for version in _unneeded(versions, keep):
        folders = _folders(version)
        if folders and version.pk in tried:
            held.append(f"{version.name} stays: the playground uses it now.")
        elif folders:
            removals.append(_removal(version, folders))
    return Plan(tuple(removals), tuple(held))


def prune(project: exchange.Project, *, keep: int = KEEP, confirmed: str | None = None) -> Plan:
    """Remove what may go; what was removed, and what was not and why.

    Args:
        confirmed: fingerprint of the plan that somebody was shown; None takes any.

    Raises:
        Changed: it is another one by now, and nothing was removed.
        ValueError: `keep` is negative.
    """
    with transaction.atomic():
        exchange.lock(project)  # what might begin to use a version waits until they are marked
        planned = plan(project, keep=keep)
        if confirmed not in (None, planned.fingerprint):
            raise Changed("Something changed meanwhile. Look again at what would go.")
        # Before the files go: a version without weights must never look usable.
        going = [removal.version.pk for removal in planned.removals if removal.version]
        rows = ModelVersion.objects.filter(pk__in=going)
        rows.update(pruned_at=Coalesce("pruned_at", timezone.now()))
    problems = {removal: _remove(removal) for removal in planned.removals}
    gone = tuple(removal for removal, problem in problems.items() if not problem)
    return Plan(gone, (*planned.held, *filter(None, problems.values())))


def _checkpoints(project: exchange.Project) -> Iterator[Removal]:
    """Optimiser states and half-finished stages: only an unfinished run resumes from them."""
    done = Run.objects.filter(project=project, state=Run.State.DONE).order_by("pk")
    for run in done.select_related("round").defer("log_tail", "round__config"):
        folder = run.directory / "checkpoints"
        if folder.is_dir():
            what = run.round or run.kind.replace("_", " ")
            yield Removal((folder,), f"checkpoints of {what}", _size(folder))


def _fetched() -> Iterator[Removal]:
    """Models of a hub that became no version, of whichever project: they share one folder."""
    if folders := tuple(fetched_models.unused()):
        yield Removal(folders, "fetched models that nobody uses", sum(map(_size, folders)))


def _busy(project: exchange.Project) -> str:
    """Why no weights go now: a run may have begun with a version that is retired by now."""
    live = Run.objects.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING])
    elsewhere = _voting_elsewhere(project, live)
    live = live.filter(Q(project=project) | Q(pk__in=elsewhere))
    what: dict[str, str] = {
        RunKind.ROUND: "A round",
        RunKind.COMPARE: "A comparison",
        RunKind.PUSH: "An upload to a hub",
        RunKind.COMPLETIONS: "The writing of completions",
        RunKind.PREVIEW: "The writing of completions",
        RunKind.CHECK: "The check of a model",
        RunKind.AI_VOTES: "The voting of an AI annotator",
    }
    kinds = [what.get(kind, "The first setup") for kind in live.values_list("kind", flat=True)]
    return f"{kinds[0]} is under way: weights stay until it has ended." if kinds else ""


def _voting_elsewhere(project: exchange.Project, live: QuerySet[Run]) -> list[int]:
    """Runs of other projects in which a reward model of this one votes."""
    voting = live.filter(kind=RunKind.AI_VOTES).exclude(project=project)
    ours = set(project.model_versions.rewards().values_list("pk", flat=True))
    return [run.pk for run in voting if run.options["sources"][0].get("version") in ours]


def _tried(project: exchange.Project) -> set[int]:
    """Versions that the playground needs for what was asked there."""
    asked = Trial.objects.live().filter(project=project).values_list("choices", flat=True)
    return {int(choice) for choices in asked for choice in choices if choice.isdigit()}


def _unneeded(versions: list[ModelVersion], keep: int) -> Iterator[ModelVersion]:
    """All but the starter, those in use, those that wait for a decision, the newest `keep` of each
    kind, and what these began with."""
    State = ModelVersion.State
    stay = {one.pk for one in versions if one.number == 0}
    stay |= {one.pk for one in versions if one.state in (State.PROMOTED, State.CANDIDATE)}
    for kind in (ModelVersion.POLICY, ModelVersion.REWARD):
        whole = (one.pk for one in versions if one.kind == kind and one.pruned_at is None)
        stay |= set(itertools.islice(whole, keep))
    stay = _with_origins(versions, stay)
    return (one for one in versions if one.pk not in stay)


def _with_origins(versions: list[ModelVersion], chosen: set[int]) -> set[int]:
    """Versions and what they began with: one can fall back to it, an adapter cannot do without."""
    parents = {one.pk: one.parent_id for one in versions if one.pruned_at is None}
    chain: set[int] = set()
    for pk in chosen:
        step: int | None = pk
        while step is not None and step in parents and step not in chain:
            chain.add(step)
            step = parents[step]
    return chain


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


def _remove(removal: Removal) -> str:
    """Remove the folders; what went wrong, in a sentence."""
    for folder in removal.folders:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another prune is ahead of this one
        except OSError as error:
            return f"Not all {removal.what} could be removed: {error.strerror}."
    return ""


def _size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except FileNotFoundError:
        return 0  # another prune is removing it
