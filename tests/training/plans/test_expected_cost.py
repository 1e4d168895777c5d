"""What is said of a round's memory and time before it starts, and how it fits what rounds took."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Project
from tests.training.history import add_starter, make_round
from tests.training.model_files import write_model
from training.models import ModelVersion, Round, Run, RunKind, StageResult
from training.plans import expected_cost, round_settings
from training.plans.expected_cost import Estimate
from training.plans.round_settings import Choice


@pytest.fixture
def ready(voted: Project, home: Path) -> Project:
    write_model(home / "starter")
    add_starter(voted)
    return voted


def expected(project: Project, **chosen: Any) -> Estimate:
    whole = round_settings.resolve(project, Choice(**chosen))
    return expected_cost.estimate(project, whole)


def done(project: Project, number: int, *, seconds: float, gib: float, **chosen: Any) -> Round:
    """A round that took so long and held so much."""
    whole = round_settings.resolve(project, Choice(**chosen))
    estimate = expected_cost.estimate(project, whole)
    round_ = make_round(project, number)
    Round.objects.filter(pk=round_.pk).update(config=whole, estimate=estimate.record())
    stages = StageResult.objects.filter(run__round=round_)
    share = {"seconds": seconds / stages.count(), "peak_gib": gib}
    stages.update(measured=share)
    return round_


def test_without_a_model_in_reach_there_is_no_idea(voted: Project) -> None:
    assert expected(voted) == Estimate()


def test_a_model_alone_tells_the_memory(ready: Project) -> None:
    told = expected(ready)
    assert told.memory_gib is not None and 1 < told.memory_gib < 10
    assert told.memory_low < told.memory_gib < told.memory_high  # type: ignore[operator]
    assert told.seconds is None and told.time_basis.startswith("No idea yet")


def test_more_of_anything_takes_more(ready: Project) -> None:
    ModelVersion.objects.update(metrics={"tokens_per_second": 100.0})
    quick, usual, careful = (
        expected(ready, preset=name, config={"optimiser": "ppo"})
        for name in ("quick", "balanced", "careful")
    )
    assert quick.seconds < usual.seconds < careful.seconds  # type: ignore[operator]
    whole = expected(ready, config={"optimiser": "ppo", "ppo": {"lora": None}})
    assert whole.memory_gib > usual.memory_gib  # type: ignore[operator]


def test_the_speed_of_the_model_gives_a_rough_time(ready: Project) -> None:
    ModelVersion.objects.update(metrics={"tokens_per_second": 100.0})
    slow = expected(ready)
    assert "rough guess from 100 tokens a second" in slow.time_basis
    ModelVersion.objects.update(metrics={"tokens_per_second": 200.0})
    assert expected(ready).seconds == pytest.approx((slow.seconds or 0) / 2)


def test_the_first_completions_measure_the_speed_too(ready: Project) -> None:
    begun = timezone.now() - timedelta(seconds=100)
    run = Run.objects.create(
        kind=RunKind.FIRST_PAIRS, project=ready, state="done", started_at=begun
    )
    numbers = {"completions": 200.0, "length": 50.0}
    StageResult.objects.create(run=run, stage=RunKind.FIRST_PAIRS, metrics=numbers)
    speed = expected_cost.tokens_per_second(ready)
    assert speed == pytest.approx(100, rel=0.05)


def test_earlier_rounds_correct_time_and_memory(ready: Project) -> None:
    by_arithmetic = expected(ready, preset="quick").memory_gib or 0
    done(ready, 1, seconds=600, gib=by_arithmetic * 1.5, preset="quick")
    told = expected(ready, preset="quick")
    assert told.seconds == pytest.approx(600, rel=0.01)
    assert told.memory_gib == pytest.approx(by_arithmetic * 1.5, rel=0.01)
    assert told.time_basis == "From 1 earlier round of this project."
    wider = expected(ready, preset="quick", config={"optimiser": "ppo"})
    assert "by another method" in wider.time_basis
    assert (wider.seconds_high or 0) / (wider.seconds or 1) > (told.seconds_high or 0) / 600


def test_past_estimates_are_told_beside_what_rounds_took(ready: Project) -> None:
    done(ready, 1, seconds=600, gib=2.0)
    assert expected_cost.past_accuracy(ready) == "", "nothing was expected of the first"
    done(ready, 2, seconds=900, gib=2.0)
    assert "took 1.5 times as long" in expected_cost.past_accuracy(ready)


def test_an_hour_has_the_price_that_the_operator_named(ready: Project, settings: Settings) -> None:
    ModelVersion.objects.update(metrics={"tokens_per_second": 100.0})
    assert expected(ready).cost is None
    settings.HOUR_PRICE = 2.0
    told = expected(ready)
    assert told.cost == pytest.approx((told.seconds or 0) / 1800, abs=0.01)
