"""Memory, time and cost of a round before it starts, and how sure they are.

Sure is what earlier rounds of the project took; less so what the model's speed says, as it was
measured when it was added or wrote its first completions; without either there is no idea of the
time, and memory is arithmetic on the model's files.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings

from annotate import exchange
from training.figures.number_format import number
from training.models import Round, Run, RunKind, StageResult
from training.plans import project_facts
from training.rlhf.config import ModelFacts, RoundConfig, from_dict
from training.rlhf.delivery import round_estimate

Settings = dict[str, Any]

LATEST = 5
"""Earlier rounds that are asked."""
SPREAD_SAME, SPREAD_OTHER, SPREAD_SPEED = 1.4, 2.0, 4.0
"""Factors either way: of rounds by the same method, by another one, and of a speed alone."""
MEMORY_SPREAD, MEMORY_SPREAD_MEASURED = 1.5, 1.2
HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An expectation; None is what nobody knows yet. Ranges are [low, high]."""

    seconds: float | None = None
    seconds_low: float | None = None
    seconds_high: float | None = None
    time_basis: str = "No idea yet: no round and no speed of this model were measured here."
    memory_gib: float | None = None
    memory_low: float | None = None
    memory_high: float | None = None
    memory_basis: str = "No idea yet: the model's files are not in reach of this process."
    cost: float | None = None
    """In the currency of PAIRLOOP_HOUR_PRICE; None where the operator named no price."""
    work: float | None = None
    """Tokens' worth of work, by which rounds are compared."""

    def record(self) -> dict[str, Any]:
        """As it is stored with the round."""
        return asdict(self)


def estimate(project: exchange.Project, whole: Settings) -> Estimate:
    """The expectation of a round with these settings."""
    config, facts = from_dict(RoundConfig, whole), project_facts.model_facts(project)
    if facts is None:
        return Estimate()
    amounts = _amounts(project)
    expected = sum(round_estimate.work(facts, config, amounts).values())
    past = list(_past(project, facts))
    return Estimate(
        **_time(project, config, expected, past),
        **_memory(facts, config, past),
        work=expected,
    )


@dataclass(frozen=True)
class Past:
    """An earlier round: what arithmetic said, and what it took."""

    config: RoundConfig
    work: float
    seconds: float
    memory: float | None
    """Times what arithmetic says: 1.2 is a fifth more."""


def _past(project: exchange.Project, facts: ModelFacts) -> Iterator[Past]:
    """Rounds that came to their end, the latest first."""
    ended = Round.objects.filter(project=project, state=Round.State.DONE).order_by("-number")
    for round_ in ended.prefetch_related("runs__stages")[:LATEST]:
        took, memory = took_seconds(round_), peak_gib(round_)
        expected = number(round_.estimate.get("work"))
        if took and expected:
            config = from_dict(RoundConfig, round_.config)
            by_arithmetic = max(round_estimate.memory(facts, config).values())
            yield Past(config, expected, took, memory and memory / by_arithmetic)


def _time(
    project: exchange.Project, config: RoundConfig, expected: float, past: list[Past]
) -> dict[str, Any]:
    same = [one for one in past if one.config.optimiser == config.optimiser]
    if chosen := same or past:
        rate = statistics.median(one.work / one.seconds for one in chosen)
        spread = SPREAD_SAME if same else SPREAD_OTHER
        many = f"{len(chosen)} earlier round{'s' * (len(chosen) > 1)}"
        basis = f"From {many}{'' if same else ' by another method'} of this project."
    elif speed := tokens_per_second(project):
        rate, spread = speed, SPREAD_SPEED
        basis = f"A rough guess from {speed:,.0f} tokens a second, measured as the model wrote."
    else:
        return {}
    seconds = expected / rate
    price = settings.HOUR_PRICE
    return {
        "seconds": seconds,
        "seconds_low": seconds / spread,
        "seconds_high": seconds * spread,
        "time_basis": basis,
        "cost": round(seconds / HOUR * price, 2) if price else None,
    }


def _memory(facts: ModelFacts, config: RoundConfig, past: list[Past]) -> dict[str, Any]:
    needed = max(round_estimate.memory(facts, config).values())
    ratios = [one.memory for one in past if one.memory]
    basis, spread = "Arithmetic on the model's size and these settings.", MEMORY_SPREAD
    if ratios:
        needed *= statistics.median(ratios)
        basis, spread = "Arithmetic, corrected by what earlier rounds held.", MEMORY_SPREAD_MEASURED
    return {
        "memory_gib": needed,
        "memory_low": needed / spread,
        "memory_high": needed * spread,
        "memory_basis": basis,
    }


def _amounts(project: exchange.Project) -> round_estimate.Amounts:
    counts, texts = exchange.counts(project), project_facts.text_facts(project)
    # What all but the longest twentieth keep to is about half as long again as the mean.
    return round_estimate.Amounts(
        pairs=counts["pairs_resolved"],
        held_out=exchange.prompt_count(project, held_out=True),
        waiting=min(counts["pairs_open"], MOST_WAITING),
        prompt=texts.prompt * 2 // 3 + 32,
        reply=texts.reply * 2 // 3,
    )


MOST_WAITING = 2000
"""As runs/run_inputs.py hands to a round."""


def tokens_per_second(project: exchange.Project) -> float | None:
    """The speed at which the project's first policy wrote; None where nobody measured it."""
    starter = project.model_versions.policies().filter(number=0).first()
    noted = number(starter.metrics.get("tokens_per_second")) if starter else None
    return noted or _first_completions_speed(project)


def _first_completions_speed(project: exchange.Project) -> float | None:
    result = (
        StageResult.objects.filter(
            run__project=project, run__kind=RunKind.FIRST_PAIRS, stage=RunKind.FIRST_PAIRS
        )
        .select_related("run")
        .first()
    )
    if result is None or result.run.started_at is None:
        return None
    seconds = (result.finished_at - result.run.started_at).total_seconds()
    tokens = (number(result.metrics.get("completions")) or 0) * (
        number(result.metrics.get("length")) or 0
    )
    return tokens / seconds if tokens and seconds > 0 else None


# What a round took


def took_seconds(round_: Round) -> float | None:
    """Seconds of the stages of a round, without its waits; None where they were not measured."""
    seconds = [number(one.measured.get("seconds")) for one in _stages(round_)]
    known = [one for one in seconds if one is not None]
    return sum(known) if known else None


def peak_gib(round_: Round) -> float | None:
    """The most memory that a stage of the round held: on its GPU, or without one in all."""
    peaks = [
        number(one.measured.get("peak_gpu_gib")) or number(one.measured.get("peak_gib"))
        for one in _stages(round_)
    ]
    return max((one for one in peaks if one is not None), default=None)


def _stages(round_: Round) -> list[StageResult]:
    run: Run | None = max(round_.runs.all(), key=lambda one: one.pk, default=None)
    return list(run.stages.all()) if run else []


def past_accuracy(project: exchange.Project) -> str:
    """A sentence on how far off the estimates of the latest rounds were; empty without any."""
    ended = Round.objects.filter(project=project, state=Round.State.DONE).order_by("-number")
    shares = []
    for round_ in ended.prefetch_related("runs__stages")[:LATEST]:
        expected, took = number(round_.estimate.get("seconds")), took_seconds(round_)
        if expected and took:
            shares.append(took / expected)
    if not shares:
        return ""
    told = ", ".join(f"{share:.1f}" for share in shares)
    return f"Past rounds took {told} times as long as was estimated, the latest first."
