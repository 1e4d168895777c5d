"""Trials of the playground, from the queue to the replies, whatever ends on the way."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Project
from tests.conftest import at_once
from tests.training.conftest import wait_for
from tests.training.history import add_starter
from training.models import ModelVersion
from training.models.trial import Trial
from training.playground import prompt_trials
from training.playground.generator_process import Answerer, answer_until_stopped, clear_left_behind
from training.runs import supervisor

FAKE = Path(__file__).parents[1] / "fake_generator.py"
Ask = Callable[..., Trial]


@pytest.fixture
def answerer(settings: Settings, tmp_path: Path) -> Iterator[Answerer]:
    settings.HOME = tmp_path
    (tmp_path / "spool").mkdir()
    made = Answerer(tmp_path / "spool", lambda spool: [sys.executable, str(FAKE), str(spool)])
    yield made
    made.close()


@pytest.fixture
def ask(project: Project, olga: User) -> Ask:
    """ask(text): a trial of the starter that waits."""
    starter = add_starter(project)

    def put(text: str, **changes: Any) -> Trial:
        asked = [{"role": "user", "content": text}]
        how: dict[str, Any] = {"choices": [str(starter.pk)], "temperature": 0.7, "seed": 1}
        trial = prompt_trials.ask(project, olga, messages=asked, max_new_tokens=16, **how | changes)
        return trial

    return put


def test_trials_are_answered_in_order_by_one_process(
    answerer: Answerer, ask: Ask, ben: User
) -> None:
    first = ask("hello")
    Trial.objects.filter(pk=first.pk).update(user=ben)
    second = ask("again")
    answerer.answer_waiting()
    for trial, text in ((first, "starter: hello"), (second, "starter: again")):
        trial.refresh_from_db()
        assert (trial.state, trial.replies[0]["text"]) == ("done", text)
        assert trial.started_at is not None and trial.finished_at is not None
    assert (answerer.spool / "starts.txt").read_text().count("started") == 1
    assert list((answerer.spool / "inbox").iterdir()) == []


def test_the_promoted_reward_model_scores(answerer: Answerer, ask: Ask) -> None:
    trial = ask("hello")
    rewards = {"project": trial.project, "kind": "reward", "path": "reward"}
    ModelVersion.objects.create(number=1, state="retired", **rewards)
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert (trial.scorer, trial.replies[0]["score"]) == ("", None)
    ModelVersion.objects.create(number=2, state="promoted", **rewards)
    trial = ask("hello")
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert (trial.scorer, trial.replies[0]["score"]) == ("reward-2", 0.0)


def test_a_process_that_dies_fails_its_trial_and_the_next_one_has_another(
    answerer: Answerer, ask: Ask
) -> None:
    trial = ask("die")
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert trial.state == "failed"
    assert trial.error == "The process with the models ended: CUDA error: out of luck"
    after = ask("hello")
    answerer.answer_waiting()
    after.refresh_from_db()
    assert after.state == "done"


def test_a_process_that_was_killed_is_said_to_have_been(answerer: Answerer, ask: Ask) -> None:
    trial = ask("killed")
    answerer.answer_waiting()
    trial.refresh_from_db()
    said = "The process with the models was ended by SIGKILL (often: out of memory)."
    assert (trial.state, trial.error) == ("failed", said)


def test_a_process_that_was_just_leaving_is_replaced(answerer: Answerer, ask: Ask) -> None:
    programs = iter([[sys.executable, "-c", ""], answerer.program(answerer.spool)])
    answerer.program = lambda spool: next(programs)
    trial = ask("hello")
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert (trial.state, trial.error) == ("done", "")


def test_a_spool_that_the_system_cleared_is_made_again(answerer: Answerer, ask: Ask) -> None:
    ask("hello")
    answerer.answer_waiting()
    shutil.rmtree(answerer.spool)
    trial = ask("again")
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert (trial.state, trial.error) == ("done", "")


@pytest.mark.django_db(transaction=True)
def test_a_trial_that_cannot_even_be_failed_does_not_end_the_answering(
    answerer: Answerer, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    # A report that holds such a log cannot be sent from one test process to another.
    caplog.set_level(logging.CRITICAL, logger="training.playground.generator_process")
    working = answerer.program

    def broken(spool: Path) -> list[str]:
        raise OSError("no file \udcff")  # a name that is not UTF-8, which no database stores

    answerer.program = broken
    ask("hello")
    answerer.answer_waiting()
    Trial.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    answerer.program = working
    trial = ask("again")
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert trial.state == "done"


@pytest.mark.django_db(transaction=True)
def test_stopping_a_trial_takes_the_question_away_and_keeps_what_was_written(
    answerer: Answerer, ask: Ask
) -> None:
    trial, noticed = ask("hang"), answerer.spool / "taken-away"

    def look_and_stay() -> None:
        answerer.answer_waiting()
        wait_for(noticed.exists)  # the process would end with this thread

    thread = in_thread(look_and_stay)
    wait_for(lambda: Trial.objects.get(pk=trial.pk).replies)
    assert prompt_trials.stop(trial)
    thread.join()
    assert noticed.exists()
    trial.refresh_from_db()
    assert (trial.state, trial.replies[0]["text"], trial.error) == ("stopped", "starter", "")
    assert not prompt_trials.stop(trial)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_stopped_says_so(answerer: Answerer, ask: Ask) -> None:
    trial = ask("hang")
    thread = in_thread(answerer.answer_waiting)
    wait_for(lambda: Trial.objects.get(pk=trial.pk).replies)
    supervisor.stopping.set()
    thread.join()
    trial.refresh_from_db()
    assert (trial.state, trial.error) == ("failed", "The worker was stopped. Ask again.")


@pytest.mark.django_db(transaction=True)
def test_of_two_clicks_at_once_one_asks(ask: Ask) -> None:
    outcomes = at_once(lambda: ask("hello"), lambda: ask("again"))
    assert {type(one) for one in outcomes} == {Trial, prompt_trials.Refused}
    assert Trial.objects.count() == 1


def test_weights_that_are_gone_fail_the_trial_by_name(answerer: Answerer, ask: Ask) -> None:
    trial = ask("hello")
    ModelVersion.objects.update(pruned_at=timezone.now())
    answerer.answer_waiting()
    trial.refresh_from_db()
    assert trial.state == "failed"
    assert trial.error == "The weights of policy-0 were removed to save space."


@pytest.mark.django_db(transaction=True)
def test_what_killed_workers_left_is_cleared_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alive = threading.Thread(target=answer_until_stopped)
    alive.start()
    wait_for(lambda: list(tmp_path.glob("*/lock")))
    [mine] = tmp_path.iterdir()
    left = tmp_path / "pairloop-playground-left"
    (left / "inbox").mkdir(parents=True)
    (left / "lock").touch()
    clear_left_behind()
    assert list(tmp_path.iterdir()) == [mine]
    supervisor.stopping.set()
    alive.join()
    assert list(tmp_path.iterdir()) == []


def test_of_two_workers_one_takes_a_trial(ask: Ask) -> None:
    trial = ask("hello")
    taken = [Trial.objects.take(owner=name) for name in ("one", "two")]
    assert [found and found.pk for found in taken] == [trial.pk, None]


def test_what_nobody_answers_any_more_is_failed_with_the_reason(ask: Ask, ben: User) -> None:
    lost = ask("hello")
    Trial.objects.take(owner="gone")
    late = Trial.objects.create(
        project=lost.project,
        user=ben,
        messages=[],
        choices=[],
        temperature=1,
        max_new_tokens=1,
        seed=0,
    )
    assert Trial.objects.close_lost() == 0
    past = timezone.now() - timedelta(hours=1)
    Trial.objects.filter(pk=lost.pk).update(lease_until=past)
    Trial.objects.filter(pk=late.pk).update(created_at=past)
    assert Trial.objects.close_lost() == 2
    for trial, reason in ((lost, "went away"), (late, "No worker took this up")):
        trial.refresh_from_db()
        assert trial.state == "failed" and reason in trial.error


def test_a_worker_whose_trial_was_closed_changes_nothing_any_more(
    answerer: Answerer, ask: Ask
) -> None:
    trial = ask("hello")
    held = Trial.objects.take(owner="slow")
    assert held is not None
    Trial.objects.filter(pk=trial.pk).update(state="failed", error="went away")
    answerer.answer(held)
    trial.refresh_from_db()
    assert (trial.state, trial.error, trial.replies) == ("failed", "went away", [])


def test_trials_are_forgotten_after_a_month(ask: Ask) -> None:
    trial = ask("hello")
    assert Trial.objects.forget_old() == 0
    Trial.objects.filter(pk=trial.pk).update(created_at=timezone.now() - timedelta(days=31))
    assert Trial.objects.forget_old() == 1


def in_thread(action: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            action()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
