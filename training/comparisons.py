"""Policies beside each other on the same prompts: measured by a run, found again, read from files.

A round measures its policy against the one before; a run of kind compare measures any versions.
Both leave the same files, which may have come from another machine: nothing in them is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction

from training import rounds
from training.models import ModelVersion, Run
from training.progress import number
from training.rlhf import rows

KIND = "compare"
MOST_VERSIONS = 8
MOST_BYTES = 64 * 1024 * 1024
"""A file of replies larger than this is left to programs."""
TABLE, REPLIES, REPORT = "comparison.json", "replies.jsonl", "report.html"
ALL = "all"
ENDS = ("low", "high")


class ComparisonRefused(Exception):
    """The comparison cannot start; the message is for people."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A measure of one version. The difference is to the comparison's first model."""

    value: float | None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the interval of the difference leaves out zero."""
        low, high = self.difference_low, self.difference_high
        return low is not None and high is not None and (low > 0 or high < 0)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of the table."""

    name: str
    title: str
    better: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one version wrote, and what was wrong with it."""

    version: ModelVersion
    text: str
    fault: str
    scores: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a run measured of some versions."""

    run: Run
    folder: Path
    names: dict[str, ModelVersion]
    """The model names of the files, in their order."""
    measures: tuple[Measure, ...]
    groups: dict[str, int]
    """Group of prompts (all, and tags) to how many they are."""
    cells: dict[str, dict[str, dict[str, Cell]]]
    """Group, model name, measure."""

    @property
    def first(self) -> ModelVersion:
        """The version that differences and win rates are against."""
        return next(iter(self.names.values()))

    def cell(self, group: str, version: ModelVersion, measure: str) -> Cell | None:
        name = next(name for name, one in self.names.items() if one == version)
        return self.cells.get(group, {}).get(name, {}).get(measure)


def start(project: Any, versions: Sequence[ModelVersion]) -> Run:
    """Queue a run that asks all these policies the same held-out prompts.

    Raises:
        ComparisonRefused: too few or too many versions, weights that are gone, or one runs already.
    """
    if not 2 <= len(versions) <= MOST_VERSIONS:
        raise ComparisonRefused(f"Choose two to {MOST_VERSIONS} versions.")
    gone = [version.name for version in versions if version.pruned_at is not None]
    if gone:
        raise ComparisonRefused(f"The weights of {', '.join(gone)} were removed to save space.")
    chosen = sorted(versions, key=lambda version: version.number)
    options = {"versions": [version.pk for version in chosen], "seed": 0}
    try:
        with transaction.atomic():
            run = Run.objects.create(kind=KIND, project=project, options=options)
            rounds.hand_to_worker(run)
    except IntegrityError as error:
        raise ComparisonRefused("Another comparison of this project is running.") from error
    return run


def last_run(project: Any) -> Run | None:
    """The project's latest comparison, whatever its state."""
    return Run.objects.filter(project=project, kind=KIND).order_by("-pk").first()


def find(project: Any, versions: Sequence[ModelVersion]) -> Comparison | None:
    """The newest comparison that holds all these versions and can be read."""
    for run, folder, names in _sources(project):
        if set(versions) <= set(names.values()):
            try:
                return _read(run, folder, names)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
                continue
    return None


def _sources(project: Any) -> Iterator[tuple[Run, Path, dict[str, ModelVersion]]]:
    """Every folder that holds a comparison of this project, newest first."""
    policies = ModelVersion.objects.policies().filter(project=project).select_related("parent")
    by_pk = {version.pk: version for version in policies}
    by_run = {version.run_id: version for version in policies if version.run_id}
    runs = Run.objects.filter(project=project, stages__stage__in=[KIND, "evaluate"])
    for run in runs.defer("log_tail", "error").order_by("-pk").distinct():
        if run.kind == KIND:
            found = [by_pk[pk] for pk in run.options.get("versions", []) if pk in by_pk]
            yield run, run.directory / KIND, {version.name: version for version in found}
        elif (after := by_run.get(run.pk)) is not None and after.parent is not None:
            yield run, run.directory / "evaluate", {"before": after.parent, "after": after}


def _read(run: Run, folder: Path, names: dict[str, ModelVersion]) -> Comparison:
    path = folder / TABLE
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} is too large")
    table = json.loads(path.read_text("utf-8"))
    groups = {str(name): group for name, group in table["groups"].items()}
    order = [str(name) for name in table["models"]]
    return Comparison(
        run=run,
        folder=folder,
        names={name: names[name] for name in order},
        measures=tuple(
            Measure(name=str(one["name"]), title=str(one["title"]), better=str(one["better"]))
            for one in table["measures"]
        ),
        groups={name: int(group["prompts"]) for name, group in groups.items()},
        cells={name: _cells(group["models"]) for name, group in groups.items()},
    )


def _cells(models: Mapping[str, Any]) -> dict[str, dict[str, Cell]]:
    known = tuple(Cell.__dataclass_fields__)
    return {
        str(model): {
            str(measure): Cell(**{key: number(cell.get(key)) for key in known})
            for measure, cell in found.items()
        }
        for model, found in models.items()
    }


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prompt with the replies of the chosen versions."""

    messages: list[dict[str, str]]
    reference: str
    tags: tuple[str, ...]
    replies: tuple[Reply, ...]


def samples(found: Comparison, versions: Sequence[ModelVersion], *, group: str) -> list[Sample]:
    """Every prompt of a group with its replies; empty where the file is not on this machine."""
    path = found.folder / REPLIES
    prompts: dict[str, list[dict[str, Any]]] = {}
    try:
        if path.stat().st_size > MOST_BYTES:
            return []
        for _, row in rows.read_json(path):
            if group == ALL or group in row["tags"]:
                prompts.setdefault(str(row["prompt_id"]), []).append(row)
        return [_sample(replies, found.names, versions) for replies in prompts.values()]
    except (OSError, rows.RowError, KeyError, TypeError, ValueError):
        return []


def _sample(
    found: Sequence[Mapping[str, Any]],
    names: Mapping[str, ModelVersion],
    versions: Sequence[ModelVersion],
) -> Sample:
    by_version = {names[row["model"]]: row for row in found}
    return Sample(
        messages=rows.messages(found[0]["messages"]),
        reference=str(found[0].get("reference", "")),
        tags=tuple(str(tag) for tag in found[0]["tags"]),
        replies=tuple(_reply(version, by_version[version]) for version in versions),
    )


def _reply(version: ModelVersion, row: Mapping[str, Any]) -> Reply:
    scores = [
        (key.removeprefix("score_"), value)
        for key, given in row["numbers"].items()
        if key.startswith("score_") and (value := number(given)) is not None
    ]
    return Reply(
        version=version, text=str(row["text"]), fault=str(row["fault"]), scores=tuple(scores)
    )
