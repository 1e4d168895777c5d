"""Finished stages become rows, each exactly once.

A stage's effects and its StageResult are one transaction, and the unique StageResult makes
applying it again change nothing, however often and from wherever it is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from annotate import exchange
from training.models import ModelVersion, Round, Run, RunKind, StageResult
from training.rlhf import rows
from training.rlhf.round import EVALUATE, PROPOSE, SAMPLE, TRAIN_POLICY, TRAIN_REWARD
from training.runs import first_pairs, streamed_rows
from training.versions import added_models, people_decision, people_verdict, promotion
from training.versions.engine_environment import round_settings

Meta = dict[str, Any]


class BadResult(Exception):
    """A stage's files are not what the contract says."""


def apply(run: Run, stage: str) -> bool:
    """Apply a finished stage; False when that was done before.

    Raises:
        Lost: `run` is not its holder any more.
        BadResult: the stage's files are unusable.
    """
    folder = run.directory / stage
    with transaction.atomic():
        # First the row: of two supervisors only the holder gets past it.
        Run.objects.write(run, fence=run.fence)
        meta = _meta(folder)
        metrics = _numbers(meta["metrics"])
        measured = _numbers(meta.get("measured") or {})
        _, created = StageResult.objects.get_or_create(
            run=run, stage=stage, defaults={"metrics": metrics, "measured": measured}
        )
        if created:
            if (effect := EFFECTS.get(stage)) is not None:
                effect(run, folder, metrics)
            # Progress was made: a process that dies in the next stage has all its attempts.
            Run.objects.write(run, attempts=1)
        return created


def _meta(folder: Path) -> Meta:
    try:
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        assert isinstance(meta["metrics"], dict), "metrics is a mapping"
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise BadResult(f"{folder / 'meta.json'}: {error}") from error
    return dict(meta)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if isinstance(value, int | float)}


def _train_reward(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    of_round = round_settings(run)
    people = folder / "judge_people.jsonl"
    judges = [row["annotator"] for row in read_rows(people)] if people.is_file() else []
    exchange.set_evaluators(run.project, judges)
    start = of_round.last_reward if of_round.reward.warm_start else ""
    _add(run, ModelVersion.REWARD, folder, metrics, start)


def _train_policy(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    of_round = round_settings(run)
    _add(run, ModelVersion.POLICY, folder, metrics, of_round.policy or of_round.starter)


def _add(run: Run, kind: str, folder: Path, metrics: dict[str, float], start: str) -> None:
    """The version that a stage made; `start` is the folder that it began with, if a version's."""
    round_ = _round(run)
    version = ModelVersion.objects.create(
        project=run.project,
        kind=kind,
        number=round_.number,
        path=_relative(folder / "model"),
        parent=_version_at(run, start) if start else None,
        run=run,
        dataset_version=round_.dataset_version,
        metrics=metrics,
    )
    promotion.publish(version)


def _evaluate(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    version = _policy_of(run)
    version.metrics = version.metrics | metrics
    version.save(update_fields=["metrics"])
    promotion.judge(version, round_settings(run).gates)
    promotion.publish(version)


def _sample(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    """Completions of the new policy and, for comparison, of the one before and the starter."""
    policy = _policy_of(run)
    written = read_rows(folder / "completions.jsonl")
    exchange.add_completions(
        run.project,
        _by_name(written, policy, "policy"),
        source=_round(run).name,
        policy=policy.name,
    )


def _by_name(
    rows_: Iterable[dict[str, Any]], policy: ModelVersion, *columns: str
) -> Iterator[dict[str, Any]]:
    """The rows with the policy before under its own name."""
    before = people_verdict.rivals(policy)[0]
    for row in rows_:
        yield row | {column: before for column in columns if row.get(column) == "before"}


def _propose(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    """New pairs into the queue; those of former policies that nobody has seen leave it."""
    source = _round(run).name
    policy = _policy_of(run)
    candidates: Iterator[dict[str, Any]] = read_rows(folder / "candidates.jsonl")
    candidates = _by_name(candidates, policy, "policy_a", "policy_b")
    if not people_decision.asks_people(policy):
        candidates = (row for row in candidates if row.get("kind") != "evaluation")
    added = exchange.add_pairs(run.project, candidates, source=source, policy=policy.name)
    if metrics.get("active"):
        acquisition = round_settings(run).propose.acquisition
        exchange.tell_acquisition(run.project, acquisition)
    # A policy that failed its gates does not displace the pairs of the one still in use.
    if added and policy.state == ModelVersion.State.PROMOTED:
        exchange.retire_untouched(run.project, before_source=source)


def _starter(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    promotion.adopt_starter(run.project, _relative(folder / "model"), run=run)


def _first_pairs(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    completions = list(read_rows(folder / "completions.jsonl"))
    exchange.add_completions(run.project, completions, source="starter", policy="starter")
    pairs = first_pairs.pairs(completions)
    exchange.add_pairs(run.project, pairs, source="starter")


def _push(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    """Keep the address of the pushed model, for its page."""
    [pushed] = read_rows(folder / "pushed.json")
    Run.objects.write(run, options=run.options | {"url": str(pushed["url"])})


def _preview(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    """Keep the replies, and the models that servers list, for the page; nothing is queued."""
    texts: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(folder.parent / streamed_rows.checkpoint(run, "replies.jsonl")):
        texts.setdefault(row["prompt_id"], []).append(row)
    shown = [
        {"prompt": row["messages"][-1]["content"], "replies": texts.get(row["prompt_id"], [])}
        for row in read_rows(folder.parent / "prompts.jsonl")
    ]
    models = {row["url"]: row["models"] for row in read_rows(folder / "models.jsonl")}
    Run.objects.write(run, options=run.options | {"shown": shown, "models": models})


def _check(run: Run, folder: Path, metrics: dict[str, float]) -> None:
    """Keep what was seen of a model, for its page, and make it a version; a server becomes none."""
    [report] = read_rows(folder / "report.json")
    options = run.options | {"report": report}
    if "folder" in report:
        options["version"] = added_models.take(run, report).pk
    Run.objects.write(run, options=options)


EFFECTS: dict[str, Callable[[Run, Path, dict[str, float]], None]] = {
    TRAIN_REWARD: _train_reward,
    TRAIN_POLICY: _train_policy,
    EVALUATE: _evaluate,
    SAMPLE: _sample,
    PROPOSE: _propose,
    RunKind.STARTER: _starter,
    RunKind.FIRST_PAIRS: _first_pairs,
    RunKind.PUSH: _push,
    RunKind.PREVIEW: _preview,
    RunKind.CHECK: _check,
}
"""A stage's rows besides its metrics; a stage that leaves none is not listed."""


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a stage's JSONL file.

    Raises:
        BadResult: names the file and line.
    """
    try:
        for _, row in rows.read_json(path):
            yield dict(row)
    except (OSError, rows.RowError) as error:
        raise BadResult(str(error)) from error


def _round(run: Run) -> Round:
    assert run.round is not None, "only runs of a round have these stages"
    return run.round


def _policy_of(run: Run) -> ModelVersion:
    return ModelVersion.objects.policies().get(run=run)


def _version_at(run: Run, location: str) -> ModelVersion | None:
    """The version a round was configured to start from; the home may have moved since."""
    versions = ModelVersion.objects.filter(project=run.project).exclude(path="")
    return next((one for one in versions if location.endswith(one.path)), None)


def _relative(path: Path) -> str:
    return str(path.relative_to(settings.HOME))
