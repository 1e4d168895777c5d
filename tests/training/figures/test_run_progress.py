from __future__ import annotations

from datetime import timedelta

import pytest

from annotate.models import Project
from tests.training.history import NUMBERS, add_policy, add_starter, make_round
from training.dashboard import round_charts
from training.figures.run_progress import (
    failed_gates,
    gate_rows,
    headline,
    last_run,
    number,
    results_of,
    stage_lines,
    verdict,
)
from training.models import ModelVersion, Run, StageResult


def states(run: Run | None) -> str:
    return " ".join(line.state for line in stage_lines(run))


@pytest.mark.parametrize(
    ("state", "done", "shown"),
    [
        ("queued", 0, "waiting waiting waiting waiting waiting"),
        ("running", 0, "running waiting waiting waiting waiting"),
        ("running", 2, "done done running waiting waiting"),
        ("failed", 1, "done failed waiting waiting waiting"),
        ("cancelled", 3, "done done done cancelled waiting"),
        ("done", 5, "done done done done done"),
    ],
)
def test_stages_tell_how_far_a_run_is(state: str, done: int, shown: str, project: Project) -> None:
    assert states(last_run(make_round(project, 1, state, done=done))) == shown


def test_a_stage_that_is_newer_than_a_finished_run_is_not_shown_with_it(project: Project) -> None:
    assert states(last_run(make_round(project, 1, "done", done=4))) == "done done done done"


def test_without_a_run_every_stage_waits() -> None:
    assert states(None) == "waiting waiting waiting waiting waiting"


def test_a_stage_lasts_from_the_end_of_the_one_before(project: Project) -> None:
    run = last_run(make_round(project, 1, "running", done=2))
    assert run is not None and run.started_at is not None
    lines = stage_lines(run, now=run.started_at + timedelta(minutes=2, seconds=30))
    assert [line.seconds for line in lines] == [60, 60, 30, None, None]


def test_progress_of_the_former_stage_is_not_shown_for_the_next(project: Project) -> None:
    round_ = make_round(project, 1, "running", done=1, stage="train_reward", step=9, total=9)
    line = stage_lines(last_run(round_))[1]
    assert (line.state, line.step, line.total) == ("running", 0, 0)


def test_a_stage_that_does_not_know_its_steps_yet_is_starting(project: Project) -> None:
    round_ = make_round(project, 1, "running", done=1, stage="train_policy", step=0, total=1)
    line = stage_lines(last_run(round_))[1]
    assert (line.state, line.total, line.message) == ("running", 0, "")


def test_the_latest_run_of_a_round_counts(project: Project) -> None:
    round_ = make_round(project, 1, "failed", done=1)
    newer = Run.objects.create(round=round_, project=project)
    assert last_run(round_) == newer


def test_the_headline_has_accuracy_win_rate_and_verdict(project: Project) -> None:
    round_ = make_round(project, 1)
    add_policy(round_)
    found = headline(last_run(round_))
    assert (found.accuracy, found.win_rate, found.verdict) == (0.81, 0.66, "In use")
    assert (found.win_rate_low, found.win_rate_high) == (0.59, 0.72)


def test_a_round_without_results_has_an_empty_headline() -> None:
    found = headline(None)
    assert (found.accuracy, found.win_rate, found.verdict) == (None, None, "")


def test_a_verdict_names_the_failed_gates(project: Project) -> None:
    add_starter(project)
    version = add_policy(make_round(project, 1), state="candidate", kl=52.4)
    assert verdict(version).startswith("Not promoted. KL to the starter (nats): 52.4")
    version.note = ""
    assert verdict(version).startswith("Not promoted: KL to the starter (nats): 52.4")


def test_a_gate_that_could_rightly_not_be_measured_is_not_told_as_failed(project: Project) -> None:
    version = add_policy(make_round(project, 1), state="candidate")
    for gate in version.gates:
        if gate["name"] == "reward_accuracy":
            gate |= {"value": None, "passed": False}
    version.note = ""
    assert verdict(version) == "Not decided yet"
    failed = {row["name"]: row["failed"] for row in gate_rows(version)}
    assert not any(failed.values()) and "reward_accuracy" in failed
    version.gates = [gate | {"value": None, "passed": False} for gate in version.gates]
    assert "kl" in [gate["name"] for gate in failed_gates(version.gates)]


def test_a_verdict_on_a_replaced_version_says_so(project: Project) -> None:
    version = add_policy(make_round(project, 1))
    version.state = ModelVersion.State.RETIRED
    assert verdict(version) == "No longer in use."


@pytest.mark.parametrize("value", [None, "0.5", True, float("nan"), float("inf"), [1]])
def test_what_is_not_a_finite_number_counts_as_missing(value: object) -> None:
    assert number(value) is None


def test_results_stop_at_the_round_that_is_looked_at(project: Project) -> None:
    for n in (1, 2, 3):
        make_round(project, n)
    found = {result.run.round.number for result in results_of(project, up_to=2) if result.run.round}
    assert found == {1, 2}


def test_the_accuracy_chart_shows_the_interval_of_the_held_out_pairs(project: Project) -> None:
    make_round(project, 1)
    make_round(project, 2)
    chart = round_charts.accuracy_chart(StageResult.objects.filter(stage="train_reward"))
    assert chart is not None
    assert [line.name for line in chart.lines] == ["Reward model", "Judge"]
    assert chart.rows[1] == ("1", "0.810 (0.711 to 0.881)", "0.780")


def test_the_win_rate_chart_survives_missing_intervals(project: Project) -> None:
    make_round(project, 1)
    make_round(project, 2)
    result = StageResult.objects.get(stage="evaluate", run__round__number=2)
    result.metrics = NUMBERS["evaluate"] | {"win_rate_low": None}
    result.save()
    chart = round_charts.win_rate_chart(r for r in results_of(project) if r.stage == "evaluate")
    assert chart is not None
    assert chart.rows[1:] == (("1", "0.660 (0.590 to 0.720)"), ("2", "0.660"))
