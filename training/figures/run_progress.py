"""Progress and outcome of runs: read-only views of the rows a supervisor writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from django.db.models import Prefetch
from django.utils import timezone

from annotate import exchange
from training.figures.number_format import number
from training.models import ModelVersion, Round, Run, StageResult
from training.models.training_round import RoundQuerySet
from training.rlhf.metrics.intervals import wilson
from training.rlhf.round import EVALUATE, STAGES, TRAIN_REWARD, Stage, is_failed

ENDED = {Run.State.FAILED: "failed", Run.State.CANCELLED: "cancelled"}


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One stage of a round; `state` is waiting, running, done, failed or cancelled."""

    name: str
    title: str
    description: str
    state: str
    step: int = 0
    total: int = 0
    message: str = ""
    seconds: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The few figures by which a round is remembered; None where nothing was measured."""

    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    pairs_held_out: float | None
    """Pairs that the accuracy is of."""
    folds: bool
    """True when it is of all pairs, out of fold, and not of held-out prompts."""
    win_rate: float | None
    win_rate_low: float | None
    win_rate_high: float | None
    prompts: float | None
    """Held-out prompts on which a model judged the policy against the one before."""
    independent: bool | None
    """True when that judge learnt from other people's votes than the reward model."""
    verdict: str


def with_results(rounds: RoundQuerySet) -> RoundQuerySet:
    """Fetch what lists of rounds show: runs from the latest on, their stages and models."""
    newest = Run.objects.order_by("-id").prefetch_related("stages", "models")
    return rounds.prefetch_related(Prefetch("runs", newest))


def outcome(round: Round) -> str:
    """The outcome of a round in a sentence: the verdict on its policy, or why it failed."""
    run = last_run(round)
    return headline(run).verdict or (run.error if run and round.state == Round.State.FAILED else "")


def last_run(round: Round) -> Run | None:
    """The round's latest run."""
    return max(round.runs.all(), key=lambda run: run.pk, default=None)


def stage_lines(run: Run | None, now: datetime | None = None) -> list[StageLine]:
    """Every stage of the round in order, also those that have not begun.

    A finished run had all the stages of its day: one that was added since is none of its.
    """
    finished = {result.stage: result for result in run.stages.all()} if run else {}
    ahead = [stage.name for stage in STAGES if stage.name not in finished]
    since = run.started_at if run else None
    lines = []
    for stage in STAGES:
        line = partial(StageLine, name=stage.name, title=stage.title, description=stage.description)
        if result := finished.get(stage.name):
            seconds = _seconds(since, result.finished_at)
            lines.append(line(state="done", seconds=seconds, metrics=result.metrics))
            since = result.finished_at
        elif run and run.state == Run.State.DONE:
            continue
        elif run and stage.name == ahead[0] and run.state != Run.State.QUEUED:
            lines.append(_current(stage, run, since, now or timezone.now()))
        else:
            lines.append(line(state="waiting"))
    return lines


def _current(stage: Stage, run: Run, since: datetime | None, now: datetime) -> StageLine:
    """The stage that runs, or at which the run came to its end."""
    # Between the end of one stage and the next progress line the row still names the former;
    # the first line of a stage, before it knows its steps, says 0 of 1.
    here = run.stage == stage.name and run.total > 1
    return StageLine(
        name=stage.name,
        title=stage.title,
        description=stage.description,
        state=ENDED.get(Run.State(run.state), "running"),
        step=run.step if here else 0,
        total=run.total if here else 0,
        message=run.message if here else "",
        seconds=_seconds(since, run.finished_at or now),
    )


def _seconds(start: datetime | None, end: datetime) -> float | None:
    return None if start is None else max(0.0, (end - start).total_seconds())


def metrics(run: Run | None) -> dict[str, dict[str, float | None]]:
    """Numbers of the finished stages, in the order of the stages."""
    return {line.name: dict(line.metrics) for line in stage_lines(run) if line.state == "done"}


def policy_of(run: Run | None) -> ModelVersion | None:
    """The policy that the run made."""
    made = run.models.all() if run else ()
    return next((version for version in made if version.kind == "policy"), None)


def headline(run: Run | None) -> Headline:
    """The figures of a run in a list of rounds."""
    measured = metrics(run)
    reward, result = measured.get(TRAIN_REWARD, {}), measured.get(EVALUATE, {})
    version = policy_of(run)
    told = accuracy_told(reward)
    independent = number(reward.get("judge_independent"))
    return Headline(
        accuracy=told.value,
        accuracy_low=told.low,
        accuracy_high=told.high,
        pairs_held_out=told.pairs,
        folds=told.folds,
        independent=None if independent is None else bool(independent),
        win_rate=number(result.get("win_rate")),
        win_rate_low=number(result.get("win_rate_low")),
        win_rate_high=number(result.get("win_rate_high")),
        prompts=number(result.get("prompts")),
        verdict="" if version is None else verdict(version),
    )


MOVED = 0.1
"""Nats to the starter up to which a policy says what it said before."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The gain of a policy in the reward of held-out prompts: the mean difference, paired."""

    mean: float
    low: float
    high: float
    prompts: float | None
    kl: float | None

    @property
    def learnt(self) -> bool:
        """True where the policy moved, and all of the interval lies above nothing."""
        return self.low > 0 and (self.kl is None or self.kl > MOVED)


def gain(run: Run | None) -> Gain | None:
    """The gain of the run's policy; None where it was not measured with an interval."""
    result = metrics(run).get(EVALUATE, {})
    names = ("reward_gain", "reward_gain_low", "reward_gain_high")
    mean, low, high = (number(result.get(name)) for name in names)
    if mean is None or low is None or high is None:
        return None
    prompts, kl = number(result.get("prompts")), number(result.get("kl"))
    return Gain(mean=mean, low=low, high=high, prompts=prompts, kl=kl)


class AccuracyTold(NamedTuple):
    """A reward model's accuracy as pages tell it; None where nothing was measured."""

    value: float | None
    low: float | None
    high: float | None
    pairs: float | None
    folds: bool
    """Out of fold, of all pairs with votes, and not of held-out prompts."""


def accuracy_told(metrics: Mapping[str, Any]) -> AccuracyTold:
    """The accuracy with its interval, which rounds of former versions did not keep."""
    keys = ("accuracy", "accuracy_low", "accuracy_high", "pairs_held_out", "accuracy_folds")
    value, low, high, pairs, folds = (number(metrics.get(key)) for key in keys)
    if low is None or high is None:
        low, high = share_interval(value, pairs)
    return AccuracyTold(value, low, high, pairs, bool(folds))


def share_interval(share: float | None, n: float | None) -> tuple[float | None, float | None]:
    """Wilson's 95 % interval of a share; two times None where it has none."""
    if share is None or not n or not 0 <= share <= 1:
        return None, None
    return wilson(share, round(n))


def verdict(version: ModelVersion) -> str:
    """Say that a version is in use, or why it is not."""
    if version.state == ModelVersion.State.PROMOTED:
        return "In use"
    if version.promoted_at is not None:
        return f"No longer in use. {version.note}".strip()
    if version.note:
        return version.note
    failed = [str(gate.get("text", gate.get("name"))) for gate in failed_gates(version.gates)]
    if failed:
        return "Not promoted: " + "; ".join(failed)
    return "Not decided yet" if version.gates else "Not judged yet"


def failed_gates(gates: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The gates that stand against a version: not those that could rightly not be measured."""
    return [gate for gate in gates if _is_failed(gate)]


def _is_failed(gate: Mapping[str, Any]) -> bool:
    name, value = str(gate.get("name", "")), number(gate.get("value"))
    return is_failed(name, value, passed=bool(gate.get("passed")))


def gate_rows(version: ModelVersion) -> list[dict[str, Any]]:
    """The version's gates for a table: title, value, bound, passed, and whether they are failed."""
    return [
        # `text` is one sentence, "title: value, verdict (bound)"; the table has its own columns.
        {"title": str(gate.get("text", gate.get("name", ""))).partition(":")[0], **gate}
        | {"failed": _is_failed(gate)}
        for gate in version.gates
    ]


def results_of(project: exchange.Project, *, up_to: int | None = None) -> list[StageResult]:
    """Results of the measuring stages over the project's rounds, oldest first."""
    results = StageResult.objects.filter(
        run__round__project=project, stage__in=[TRAIN_REWARD, EVALUATE]
    )
    if up_to is not None:
        results = results.filter(run__round__number__lte=up_to)
    return list(results.select_related("run__round").order_by("run__round__number", "id"))
