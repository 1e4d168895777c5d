"""A project with a model of its own, for commands: added, and its first completions written.

The pages do the same in steps; here one call sees each through on the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotate import exchange
from training.completions import reply_length, writing_runs
from training.figures import model_check_report
from training.models import ModelVersion, Run, RunKind
from training.rounds import start_and_cancel
from training.runs import run_kinds
from training.setup import foreground, start_model_check
from training.versions import added_models

FIRST_PROMPTS = 4
"""Prompts that are answered before people begin. A worker answers the others while they vote on
these, and its pairs come as they are written."""
FIRST_SECONDS, BATCH_GAIN = 30.0, 2.0
PAIR_SECONDS = 10.0
"""Between two pairs of the others: few people vote faster than they would come then."""
FEWEST_PROMPTS, SHORTEST = 3, 96
"""On a slow machine: fewer prompts, whose replies have so many tokens at most."""
QUICK_LOOK = 64
"""Tokens of a sample reply where somebody waits for the first pair."""


def place_for_use(project: exchange.Project, kind: str = "") -> str:
    """The place of a model that shall be used: the starter where there is none yet."""
    begins = kind != ModelVersion.REWARD and added_models.starter(project) is None
    return added_models.STARTER if begins else added_models.USE


def follow(
    run: Run, *, out: foreground.Output, program: run_kinds.Program | None = None
) -> ModelVersion | None:
    """See a check through; the version it added, or None when it was stopped on the way.

    Raises:
        Refused: the model cannot be used; nothing is left of the check.
    """
    state = foreground.follow(run, out=out, program=program)
    run.refresh_from_db()
    if state is None:
        return None
    if state != Run.State.DONE:
        error = run.error
        start_model_check.remove(run)
        raise start_model_check.Refused(error)
    return ModelVersion.objects.get(pk=run.options["version"])


def described(run: Run) -> Iterator[str]:
    """Lines on what a check saw."""
    report = run.options["report"]
    yield from (f"{name}: {value}" for name, value in model_check_report.rows(report))
    yield from model_check_report.warnings(report)


def begin_with(project: exchange.Project, model: str, *, out: foreground.Output) -> bool:
    """Make a model the project's starter unless it is; False when stopped on the way.

    Raises:
        Refused: it cannot be; nothing is written then.
    """
    source = start_model_check.typed(model)
    first = added_models.starter(project)
    if first is not None and _is(first, source):
        return True
    if first is None and (there := _known(project, source)) is not None:
        added_models.use(there)
        return True
    run = check(project, source, make=added_models.STARTER, longest=QUICK_LOOK)
    return follow(run, out=out) is not None


def check(
    project: exchange.Project,
    source: start_model_check.Source,
    *,
    make: str,
    kind: str = "",
    note: str = "",
    longest: int = 0,
) -> Run:
    """A check that nobody else was told of, or the one of this model that was stopped on its way.

    Raises:
        Refused, Known: as `start_model_check.start`.
    """
    for run in added_models.checks(project).filter(state__in=writing_runs.LIVE):
        if run.options["sources"] == [source]:
            return run
    return start_model_check.start(
        project,
        source,
        make=make,
        kind=kind,
        note=note,
        trusted=True,
        longest=longest,
        enqueue=False,
    )


def _is(first: ModelVersion, source: start_model_check.Source) -> bool:
    """True where the starter is this folder, or was fetched from this hub."""
    if "folder" in source:
        return Path(first.location).resolve() == Path(source["folder"])
    checked = added_models.check_of(first)
    hub = checked.options["sources"][0].get("hub") if checked is not None else first.path
    return hub == source["hub"]


def _known(project: exchange.Project, source: start_model_check.Source) -> ModelVersion | None:
    """The candidate that this folder is already."""
    folder = source.get("folder")
    return added_models.known(project, folder, ModelVersion.POLICY) if folder else None


def write_first(project: exchange.Project, *, seed: int, out: foreground.Output) -> bool:
    """Have the starter answer the first prompts here, and a worker the others; False when stopped.

    Raises:
        Refused: it failed, or the project has no prompts without completions.
    """
    run = writing_runs.last(project, RunKind.COMPLETIONS)
    runs = Run.objects.filter(project=project, kind=RunKind.COMPLETIONS)
    if not runs.filter(state=Run.State.DONE).exists():
        if run is None:
            some = _options(project, seed=seed, most=FIRST_PROMPTS)
            affordable = _affordable(project, FIRST_SECONDS / FIRST_PROMPTS)
            some["max_new_tokens"] = min(some["max_new_tokens"], max(SHORTEST, affordable))
            if affordable < SHORTEST:
                some["most"] = FEWEST_PROMPTS
            run = writing_runs.start(project, some, enqueue=False)
        elif run.final:
            writing_runs.go_on(run, enqueue=False)
        state = foreground.follow(run, out=out)
        run.refresh_from_db()
        if state is None:
            return False
        if state != Run.State.DONE:
            raise writing_runs.Refused(run.error)
    if not being_written(project) and exchange.prompt_count(project, unanswered=True):
        others = _options(project, seed=seed)
        affordable = max(SHORTEST, _affordable(project, PAIR_SECONDS))
        others["max_new_tokens"] = min(others["max_new_tokens"], affordable)
        writing_runs.start(project, others)
    return True


def _affordable(project: exchange.Project, seconds: float) -> int:
    """Tokens of a reply with which the two of a pair are written in so many seconds."""
    first = added_models.starter(project)
    checked = added_models.check_of(first) if first is not None else None
    seen = checked.options["report"] if checked is not None else {}
    # A batch of replies is faster than the few of the check, by less than it is larger.
    speed = BATCH_GAIN * float(seen.get("tokens_per_second", 0.0))
    # Of a check that measured nothing there is no bound to tell.
    return int(seconds * speed / 2)


def being_written(project: exchange.Project) -> bool:
    """True while completions wait for a worker, or are written by one."""
    run = writing_runs.last(project, RunKind.COMPLETIONS)
    return run is not None and not run.final


def until_a_round(project: exchange.Project) -> str:
    """A sentence on when the project's rounds start."""
    wanted = f"a round wants votes on {start_and_cancel.MIN_TRAINING_PAIRS} pairs"
    if project.round_after:
        return f"{wanted}, and starts by itself after every {project.round_after} resolved ones."
    return f"{wanted}, and is started on /projects/{project.slug}/rounds/."


def _options(project: exchange.Project, *, seed: int, most: int = 0) -> dict[str, Any]:
    """Options of a run by the starter for prompts without completions."""
    first = added_models.starter(project)
    assert first is not None, "a starter was made before"
    length = reply_length.of_version(first)
    return writing_runs.options_of(first, max_new_tokens=length, seed=seed, most=most)
