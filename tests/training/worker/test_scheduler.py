from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from annotate.models import Assignment, Project
from tests.training.conftest import vote_on
from tests.training.versions.test_promotion import judged
from training.models import ModelVersion, Round, Run, WorkerBeat
from training.rounds import automatic_start, start_and_cancel
from training.runs import task_queue
from training.runs.task_queue import huey
from training.versions import promotion
from training.worker import scheduler, tasks

Pairs = Callable[..., Any]


@pytest.fixture
def looping(voted: Project, home: Path, transactional_db: None) -> Project:
    """A project with a starter, 50 voted pairs, and a round after 30 more."""
    promotion.adopt_starter(voted, "starter")
    Project.objects.filter(pk=voted.pk).update(round_after=30)
    voted.refresh_from_db()
    return voted


def finish_round(project: Project, state: str = "done") -> None:
    Run.objects.filter(project=project).update(state=state)
    Round.objects.filter(project=project).update(state=state)


def test_enough_new_labels_start_one_round(looping: Project) -> None:
    scheduler.tick()
    scheduler.tick()
    assert [round_.trigger for round_ in looping.rounds.all()] == ["votes"]
    assert WorkerBeat.objects.get(kind="short").seen_at <= timezone.now()


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_the_next_round_waits_for_labels_after_the_last_snapshot(
    state: str, looping: Project, make_pairs: Pairs, ann: User, ben: User
) -> None:
    scheduler.tick()
    finish_round(looping, state)
    vote_on(make_pairs(20), ann, ben)
    scheduler.tick()
    assert looping.rounds.count() == 1
    vote_on(make_pairs(25), ann, ben)
    scheduler.tick()
    assert [round_.number for round_ in looping.rounds.all()] == [2, 1]


def test_a_project_that_does_not_loop_is_left_alone(looping: Project) -> None:
    Project.objects.filter(pk=looping.pk).update(round_after=0)
    scheduler.tick()
    assert not looping.rounds.exists()


def test_votes_order_the_queue_and_judge_policies_also_where_rounds_start_by_hand(
    looping: Project, ann: User, ben: User, cleo: User
) -> None:
    Project.objects.filter(pk=looping.pk).update(round_after=0)
    starter = looping.model_versions.get()
    run = Run.objects.create(project=looping, state="done")
    policy = ModelVersion.objects.create(
        project=looping, kind="policy", number=1, parent=starter, run=run
    )
    promotion.promote(policy)
    judged(looping, "policy-1", n=40, won=8, people=[ann, ben, cleo])
    scheduler.tick()
    starter.refresh_from_db()
    assert starter.state == "promoted"
    tasks.register("short")
    assert "rerank" in {task.name for task in huey("short").pending()}


def test_somebody_chosen_to_compare_policies_who_never_votes_keeps_nobody_else_from_it(
    looping: Project, ann: User, ben: User
) -> None:
    members = looping.memberships
    members.filter(user__in=[ann, ben]).update(evaluates=True)
    long_ago = timezone.now() - timedelta(days=15)
    Assignment.objects.filter(annotator=ben).update(voted_at=long_ago)
    scheduler.tick()
    assert list(members.filter(evaluates=True).values_list("user", flat=True)) == [ann.pk]


def test_a_cron_line_starts_a_round_once_it_is_due(looping: Project) -> None:
    Project.objects.filter(pk=looping.pk).update(round_after=0, round_schedule="0 3 * * *")
    looping.refresh_from_db()
    created = looping.created_at
    three = created.replace(hour=3, minute=0, second=0, microsecond=0)
    due_at = three if three > created else three + timedelta(days=1)
    assert automatic_start.due(looping, due_at - timedelta(minutes=1)) is None
    assert automatic_start.due(looping, due_at) == "schedule"
    start_and_cancel.start_round(looping, trigger="schedule")
    assert automatic_start.due(looping, due_at) is None


def test_a_cron_line_starts_nothing_without_new_labels(looping: Project) -> None:
    Project.objects.filter(pk=looping.pk).update(round_after=0, round_schedule="* * * * *")
    looping.refresh_from_db()
    start_and_cancel.start_round(looping)
    finish_round(looping)
    assert automatic_start.due(looping, timezone.now() + timedelta(days=1)) is None


def test_a_cron_line_is_read_in_the_configured_time_zone() -> None:
    since = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    with timezone.override("Asia/Tokyo"):
        at_three = datetime(2026, 7, 1, 18, 0, tzinfo=UTC)
        assert automatic_start.next_time("0 3 * * *", since) == at_three


def test_a_broken_cron_line_never_starts_a_round(looping: Project) -> None:
    Project.objects.filter(pk=looping.pk).update(round_after=0, round_schedule="every night")
    scheduler.tick()
    assert not looping.rounds.exists()


def test_one_projects_trouble_does_not_keep_others_waiting(looping: Project) -> None:
    # Sorted before the other by name, and without a policy it cannot start.
    Project.objects.create(slug="another", name="Another", round_after=1)
    scheduler.tick()
    assert looping.rounds.count() == 1


def test_a_task_of_a_run_that_is_gone_does_nothing(transactional_db: None, home: Path) -> None:
    tasks.register("gpu")
    task_queue.start_run(12345)
    task = huey("gpu").dequeue()
    huey("gpu").execute(task)
    assert huey("gpu").pending_count() == 0
