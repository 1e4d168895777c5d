from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from annotate.models import Project
from training.models import Round, Run
from training.rounds import start_and_cancel
from training.runs import crash_recovery, task_queue
from training.runs.task_queue import huey


def test_a_run_whose_trigger_was_lost_is_triggered_again(a_round: Round, run: Run) -> None:
    assert crash_recovery.recover() == 1
    assert huey("gpu").pending_count() == 1
    # It waits in the queue now, perhaps behind others; that is no loss.
    Run.objects.update(enqueued_at=timezone.now() - timedelta(hours=1))
    assert crash_recovery.recover() == 0


def test_a_trigger_on_its_way_is_not_doubled(a_round: Round, run: Run) -> None:
    Run.objects.update(enqueued_at=timezone.now())
    assert crash_recovery.recover() == 0
    assert crash_recovery.recover(at_once=True) == 1


def test_a_run_whose_lease_ran_out_is_triggered_again(a_round: Round, run: Run) -> None:
    Run.objects.claim(run.pk, owner="another-host 1 1 x")
    assert crash_recovery.recover(at_once=True) == 0
    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert crash_recovery.recover() == 1


def test_a_run_that_was_tried_too_often_fails_readably(a_round: Round, run: Run) -> None:
    Run.objects.update(attempts=20, error="The process was ended by SIGKILL.")
    crash_recovery.recover()
    run.refresh_from_db()
    assert run.state == "failed"
    assert run.error == "Gave up after 20 attempts. The process was ended by SIGKILL."


def test_the_lost_trigger_of_a_writing_run_does_not_wait_for_training(
    project: Project, transactional_db: None, home: Path
) -> None:
    task_queue.start_run(12345)  # a round, perhaps for hours
    run = Run.objects.create(
        project=project, kind="completions", worker="short", options={"sources": []}
    )
    assert crash_recovery.recover() == 1
    assert (huey("gpu").pending_count(), huey("short").pending_count()) == (1, 1)
    run.refresh_from_db()
    assert run.enqueued_at is not None and crash_recovery.recover() == 0


def test_a_cancel_of_a_run_whose_supervisor_died_is_finished_by_the_reaper(run: Run) -> None:
    Run.objects.claim(run.pk, owner="another-host 1 1 x")
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert start_and_cancel.cancel(Round.objects.get(pk=run.round_id))
    crash_recovery.close_cancelled()
    run.refresh_from_db()
    assert run.state == "cancelled"
