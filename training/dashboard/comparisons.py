"""Policies beside each other on the same prompts: measured by a run, found again, read from files.

A round measures its policy against the one before; a run of kind compare measures any versions.
Both leave the same files, which may have come from another machine: nothing in them is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction

from annotate import exchange
from training.figures.number_format import number
from training.figures.run_files import run_file
from training.models import ModelVersion, Run, RunKind
from training.rlhf import rows
from training.rlhf.round import EVALUATE
from training.runs import task_queue

MOST_VERSIONS = 8
MOST_BYTES = 64 * 1024 * 1024
"""A file of replies larger than this is left to programs."""
TABLE, REPLIES, REPORT = "comparison.json", "replies.jsonl", "report.html"
ALL = "all"
UNREADABLE = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""The errors of reading files that somebody else may have written."""


class ComparisonRefused(Exception):
    """The comparison cannot start; the message is for people."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A measure of one version. The difference is to the comparison's first model."""

    value: float | None
    n: float | None = None
    """Replies that it is of: only some have a reference, or were judged by people."""
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None

    @property
    def sure(self) -> bool:
        """True when the interval of the difference leaves out zero."""
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
    """A reply of one version, and its fault, if it has one."""

    version: ModelVersion
    text: str
    fault: str
    scores: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The measures of some versions, as one run took them."""

    run: Run
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


def start(project: exchange.Project, versions: Sequence[ModelVersion]) -> Run:
    """Queue a run that asks all these policies the same held-out prompts.

    Raises:
        ComparisonRefused: too few or too many versions, weights that are gone, or one runs already.
    """
    if not 2 <= len(versions) <= MOST_VERSIONS:
        raise ComparisonRefused(f"Choose two to {MOST_VERSIONS} versions.")
    chosen = sorted(versions, key=lambda version: version.number)
    versions_asked = [version.pk for version in chosen]
    options = {"versions": versions_asked, "seed": 0}
    try:
        with transaction.atomic():
            exchange.lock(project)  # of this and a removal of weights, one is first
            _require_weights(versions_asked)
            run = Run.objects.create(kind=RunKind.COMPARE, project=project, options=options)
            task_queue.hand_to_worker(run)
    except IntegrityError as error:
        raise ComparisonRefused("Another comparison of this project is running.") from error
    return run


def _require_weights(versions: Sequence[int]) -> None:
    pruned = ModelVersion.objects.filter(pk__in=versions, pruned_at__isnull=False)
    if gone := [version.name for version in pruned.order_by("number")]:
        raise ComparisonRefused(f"The weights of {', '.join(gone)} were removed to save space.")


def last_run(project: exchange.Project) -> Run | None:
    """The project's latest comparison, whatever its state."""
    return Run.objects.filter(project=project, kind=RunKind.COMPARE).order_by("-pk").first()


def find(project: exchange.Project, versions: Sequence[ModelVersion]) -> Comparison | None:
    """The newest comparison that holds all these versions and can be read."""
    for run, names in _sources(project):
        if set(versions) <= set(names.values()):
            try:
                return _read(run, names)
            except UNREADABLE:
                continue
    return None


def _sources(project: exchange.Project) -> Iterator[tuple[Run, dict[str, ModelVersion]]]:
    """Every run that compared policies of this project, newest first."""
    policies = ModelVersion.objects.policies().filter(project=project).select_related("parent")
    by_pk = {version.pk: version for version in policies}
    by_run = {version.run_id: version for version in policies if version.run_id}
    runs = Run.objects.filter(project=project, stages__stage__in=[RunKind.COMPARE, EVALUATE])
    for run in runs.defer("log_tail", "error").order_by("-pk").distinct():
        if run.kind == RunKind.COMPARE:
            compared = [by_pk[pk] for pk in run.options.get("versions", []) if pk in by_pk]
            yield run, {version.name: version for version in compared}
        elif (after := by_run.get(run.pk)) is not None and after.parent is not None:
            yield run, {"before": after.parent, "after": after}


def file_of(run: Run, name: str) -> Path:
    """A file that the comparison of this run left.

    Raises:
        OSError: there is none that could be read.
    """
    stage = RunKind.COMPARE if run.kind == RunKind.COMPARE else EVALUATE
    return run_file(run, stage, name, most=MOST_BYTES)


def _read(run: Run, names: dict[str, ModelVersion]) -> Comparison:
    table = json.loads(file_of(run, TABLE).read_text("utf-8"))
    groups = {str(name): group for name, group in table["groups"].items()}
    order = [str(name) for name in table["models"]]
    if ALL not in groups or set(order) != set(names):
        raise ValueError(f"{TABLE} of run {run.uuid} is of something else")
    return Comparison(
        run=run,
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
            for measure, cell in measured.items()
        }
        for model, measured in models.items()
    }


@dataclass(frozen=True)
class Asked:
    """A prompt, and where the replies to it stand in the file."""

    tags: tuple[str, ...]
    places: dict[str, int]
    """Model name to the byte at which its line begins."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prompt with the replies of the chosen versions."""

    messages: list[dict[str, str]]
    reference: str
    tags: tuple[str, ...]
    replies: tuple[Reply, ...]


def asked(comparison: Comparison, *, group: str) -> list[Asked]:
    """The prompts of a group; none where the file of replies is not on this machine."""
    try:
        path = file_of(comparison.run, REPLIES)
        every = _index(path, path.stat().st_mtime_ns)
    except UNREADABLE:
        return []
    return [one for one in every if group == ALL or group in one.tags]


@lru_cache(maxsize=4)
def _index(path: Path, _written: int) -> list[Asked]:
    """The prompts of a file of replies and where their lines are: a page shows a few of many."""
    prompts: dict[str, Asked] = {}
    place = 0
    with path.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            tags = tuple(str(tag) for tag in row["tags"])
            one = prompts.setdefault(str(row["prompt_id"]), Asked(tags, {}))
            one.places[str(row["model"])] = place
            place += len(line)
    return list(prompts.values())


def samples(
    comparison: Comparison, versions: Sequence[ModelVersion], prompts: Iterable[Asked]
) -> list[Sample]:
    """These prompts with the replies of the versions; none where a line is not as it should be."""
    try:
        with file_of(comparison.run, REPLIES).open("rb") as file:
            return [_sample(file, one, comparison.names, versions) for one in prompts]
    except UNREADABLE:
        return []


def _sample(
    file: BinaryIO,
    prompt: Asked,
    names: Mapping[str, ModelVersion],
    versions: Sequence[ModelVersion],
) -> Sample:
    places = {names[model]: place for model, place in prompt.places.items()}
    lines = {version: _line(file, places[version]) for version in versions}
    first = lines[versions[0]]
    return Sample(
        messages=rows.messages(first["messages"]),
        reference=str(first.get("reference", "")),
        tags=prompt.tags,
        replies=tuple(_reply(version, lines[version]) for version in versions),
    )


def _line(file: BinaryIO, place: int) -> Any:
    file.seek(place)
    return json.loads(file.readline())


def _reply(version: ModelVersion, row: Mapping[str, Any]) -> Reply:
    scores = [
        (key.removeprefix("score_"), value)
        for key, given in row["numbers"].items()
        if key.startswith("score_") and (value := number(given)) is not None
    ]
    return Reply(
        version=version, text=str(row["text"]), fault=str(row["fault"]), scores=tuple(scores)
    )
