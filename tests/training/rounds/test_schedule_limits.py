"""Rounds that start by themselves, what holds them back, and who is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from annotate.models import Project
from tests.annotate.webhooks.receiver import hook_of
from tests.training.conftest import vote_on
from training.models import LoopSchedule, ModelVersion, Round, Run
from training.rounds import automatic_start, loop_mail, schedule_limits
from training.rounds.schedule_form import ScheduleForm
from training.versions import promotion
from training.worker import scheduler

Pairs = Callable[..., Any]


@pytest.fixture
def looping(voted: Project, home: Path, transactional_db: None) -> Project:
    """A project with a starter, 50 voted pairs, and a round after 30 more."""
    (home / "starter").mkdir()
    promotion.adopt_starter(voted, "starter")
    Project.objects.filter(pk=voted.pk).update(round_after=30)
    voted.refresh_from_db()
    return voted


def bounded(project: Project, **bounds: Any) -> LoopSchedule:
    return LoopSchedule.objects.create(project=project, **bounds)


def ended(project: Project, state: str = "done", *, promoted: bool = False) -> Round:
    """A round that is over, with the policy it made."""
    number = project.rounds.count() + 1
    round_ = Round.objects.create(project=project, number=number, state=state)
    run = Run.objects.create(project=project, round=round_, state=state)
    if state == "done":
        gates = [{"name": "kl", "passed": promoted}]
        at = timezone.now() if promoted else None
        ModelVersion.objects.create(
            project=project, kind="policy", number=number, run=run, gates=gates, promoted_at=at
        )
    return round_


def waiting(project: Project, make_pairs: Pairs, round_: Round, what: str) -> None:
    """Have people compare the round's policy with the one in use."""
    policy = ModelVersion.objects.policies().get(run__round=round_)
    gates = [{"name": "kl", "value": 3.0, "passed": what != "unlike"}]
    if what == "unmeasured":
        gates.append({"name": "win_rate", "value": None, "passed": False})
    starter = ModelVersion.objects.policies().get(project=project, number=0)
    ModelVersion.objects.filter(pk=policy.pk).update(gates=gates, parent=starter)
    compared = project.pairs.filter(pk__in=[p.pk for p in make_pairs(2, kind="evaluation")])
    compared.update(policy_a=policy.name, policy_b="starter")
    if what == "voted":
        compared.update(state="resolved", open_slots=0)


def kinds(project: Project) -> list[str]:
    return list(project.loop_events.order_by("pk").values_list("kind", flat=True))


def test_three_rounds_run_by_themselves_and_one_of_them_fails(
    looping: Project,
    home: Path,
    supervise: Callable[..., Run],
    make_pairs: Pairs,
    ann: User,
    ben: User,
) -> None:
    (home / "runs").mkdir(exist_ok=True)
    for n in (1, 2, 3):
        how = {"exit": {"train_policy": 1}} if n == 2 else {}
        (home / "runs" / "behaviour.json").write_text(json.dumps(how))
        scheduler.tick()
        (run,) = Run.objects.filter(round__number=n)
        assert supervise(run).state == ("failed" if n == 2 else "done")
        scheduler.tick()
        assert looping.rounds.count() == n, "nothing new was voted on"
        vote_on(make_pairs(60), ann, ben)
    said = [one for one in kinds(looping) if one in ("started", "done", "failed")]
    assert said == ["started", "done", "started", "failed", "started", "done"]


def test_a_paused_loop_starts_nothing_until_it_goes_on(looping: Project) -> None:
    hook_of(looping, events=["loop.paused"])
    assert schedule_limits.pause(looping, "By zed.")
    assert not schedule_limits.pause(looping, "By olga.")
    scheduler.tick()
    assert not looping.rounds.exists()
    assert "By zed." in schedule_limits.held(looping, timezone.now())
    assert looping.webhooks.get().deliveries.count() == 1
    assert schedule_limits.resume(looping, "By zed.")
    scheduler.tick()
    assert looping.rounds.count() == 1
    assert kinds(looping)[:3] == ["paused", "resumed", "started"]


@given(start=st.times(), end=st.times(), zone=st.sampled_from(["", "Asia/Tokyo", "America/Lima"]))
def test_quiet_hours_end_and_cover_what_lies_between_in_the_schedules_zone(
    start: time, end: time, zone: str
) -> None:
    quiet = LoopSchedule(zone=zone, quiet_from=start, quiet_until=end)
    for here in (start, end):
        now = datetime.combine(datetime(2026, 7, 1), here, quiet.time_zone)
        assert quiet.is_quiet(now.astimezone(UTC)) == (here == start != end)
    assert not LoopSchedule(zone=zone).is_quiet(timezone.now())


def test_a_round_that_is_due_waits_for_the_end_of_the_quiet_hours(
    looping: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = bounded(looping, zone="Asia/Tokyo", quiet_from=time(22), quiet_until=time(6))
    tokyo = quiet.time_zone
    for hour, starts in ((23, 0), (5, 0), (6, 1)):
        now = datetime(2026, 7, 1, hour, 30, tzinfo=tokyo)
        assert bool(schedule_limits.held(looping, now)) == (not starts)
        monkeypatch.setattr(timezone, "now", lambda now=now: now.astimezone(UTC))
        automatic_start.start_if_due(looping)
        assert looping.rounds.count() == starts


def test_rounds_and_hours_of_the_last_week_are_bounded(looping: Project) -> None:
    now = timezone.now()
    first = ended(looping, promoted=True)
    run = Run.objects.filter(round=first)
    run.update(started_at=now - timedelta(hours=5), finished_at=now - timedelta(hours=2))
    assert schedule_limits.spent(looping, now) == (1, pytest.approx(3.0))
    schedule = bounded(looping, most_hours=3.5)
    assert not schedule_limits.held(looping, now)
    LoopSchedule.objects.update(most_hours=3.0)
    assert "hours of training" in schedule_limits.held(looping, now)
    LoopSchedule.objects.update(most_hours=None, most_rounds=1)
    assert "1 rounds in seven days" in schedule_limits.held(looping, now)
    later = timezone.now() + schedule.WINDOW
    assert not schedule_limits.held(looping, later), "what is older than a week no longer counts"


@pytest.mark.parametrize(
    ("rounds", "paused"),
    [
        (["refused", "refused"], True),
        (["refused", "failed"], True),
        (["refused", "promoted", "refused"], False),
        (["promoted", "refused", "cancelled"], False),
        (["refused", "waiting"], False),
        (["refused", "waiting", "failed"], True),
        (["refused", "unmeasured"], False),
        (["refused", "voted"], True),
        (["refused", "unlike"], True),
    ],
)
def test_a_loop_without_gain_pauses_by_itself(
    looping: Project, make_pairs: Pairs, rounds: list[str], paused: bool
) -> None:
    bounded(looping, stop_after=2)
    for what in rounds:
        state = what if what in ("failed", "cancelled") else "done"
        round_ = ended(looping, state, promoted=what == "promoted")
        if what in ("waiting", "unmeasured", "voted", "unlike"):
            waiting(looping, make_pairs, round_, what)
    scheduler.tick()
    assert (schedule_limits.schedule_of(looping).paused_at is not None) == paused
    assert (looping.rounds.count() == len(rounds)) == paused


@pytest.mark.parametrize(
    ("mode", "state", "passed", "paused"),
    [
        ("people", "open", False, False),
        ("people", "resolved", False, True),
        ("human", "resolved", True, False),
        ("human", "open", False, True),
    ],
)
def test_a_policy_that_whoever_decides_has_not_decided_on_is_no_round_without_gain(
    looping: Project, make_pairs: Pairs, mode: str, state: str, passed: bool, paused: bool
) -> None:
    Project.objects.filter(pk=looping.pk).update(promotion=mode)
    bounded(looping, stop_after=1)
    waiting(looping, make_pairs, ended(looping), "waiting" if passed else "unlike")
    if state == "resolved":
        looping.pairs.filter(kind="evaluation").update(state=state, open_slots=0)
    assert schedule_limits.pause_without_gain(looping) == paused


def test_rounds_before_the_loop_went_on_are_no_reason_to_pause_it_again(looping: Project) -> None:
    bounded(looping, stop_after=1)
    ended(looping, "failed")
    scheduler.tick()
    assert schedule_limits.resume(looping, "By zed.")
    scheduler.tick()
    assert schedule_limits.schedule_of(looping).paused_at is None
    assert looping.rounds.count() == 2


def test_admins_who_asked_for_it_are_told_once_by_mail(
    looping: Project, zed: User, olga: User, settings: Settings
) -> None:
    settings.EMAIL_URL, settings.ALLOWED_HOSTS = "smtp://localhost", ["pairs.example"]
    User.objects.filter(pk=zed.pk).update(email="zed@example.org")
    User.objects.filter(pk=olga.pk).update(email="olga@example.org")
    schedule = bounded(looping, site="https://pairs.example", zone="Europe/Berlin")
    schedule_limits.pause(looping, "By zed.")
    assert not loop_mail.tell_by_mail(looping), "nobody asked"
    schedule.mail_to.set([zed, olga])
    scheduler.tick()
    scheduler.tick()
    (sent,) = mail.outbox
    assert sent.to == ["zed@example.org"], "a reviewer is no admin"
    assert "loop paused" in sent.subject and "By zed." in str(sent.body)
    assert "https://pairs.example/projects/desk/rounds/schedule/" in str(sent.body)
    settings.PUBLIC_URL = "https://public.example"
    schedule_limits.resume(looping, "By zed.")
    schedule_limits.pause(looping, "By zed.")
    scheduler.tick()
    assert "https://public.example/projects/desk/" in str(mail.outbox[1].body)


def test_a_failed_round_is_mailed_with_its_error(
    looping: Project, zed: User, settings: Settings, supervise: Callable[..., Run], home: Path
) -> None:
    settings.EMAIL_URL, settings.ALLOWED_HOSTS = "smtp://localhost", ["pairs.example"]
    User.objects.filter(pk=zed.pk).update(email="zed@example.org")
    bounded(looping).mail_to.set([zed])
    (home / "runs").mkdir(exist_ok=True)
    (home / "runs" / "behaviour.json").write_text(json.dumps({"exit": {"train_policy": 1}}))
    scheduler.tick()
    failed = supervise(Run.objects.get(round__number=1))
    scheduler.tick()
    (sent,) = mail.outbox
    assert "round failed" in sent.subject
    assert failed.error and failed.error in str(sent.body)


def test_a_cron_line_is_read_in_the_schedules_own_zone(looping: Project) -> None:
    since = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    zone = LoopSchedule(zone="Asia/Tokyo").time_zone
    at_three = datetime(2026, 7, 1, 18, 0, tzinfo=UTC)
    assert automatic_start.next_time("0 3 * * *", since, zone) == at_three


def test_a_time_that_never_comes_starts_nothing_and_breaks_nothing(
    looping: Project, client_for: Callable[[User], Client], zed: User
) -> None:
    Project.objects.filter(pk=looping.pk).update(round_after=0, round_schedule="0 0 30 2 *")
    looping.refresh_from_db()
    ended(looping)
    assert automatic_start.due(looping, timezone.now()) is None
    client = client_for(zed)
    for page in ("/projects/desk/rounds/schedule/", "/projects/desk/"):
        assert client.get(page).status_code == 200
    said = client.post(
        "/projects/desk/rounds/schedule/", {"round_after": "0", "round_schedule": "0 0 30 2 *"}
    )
    assert said.status_code == 400 and "never comes" in said.content.decode()


def test_a_pause_that_comes_while_a_form_is_open_stands(looping: Project) -> None:
    kept = bounded(looping, stop_after=2)
    form = ScheduleForm(
        {"round_after": "5", "round_schedule": "", "stop_after": "9"},
        instance=kept,
        project=looping,
    )
    assert form.is_valid(), form.errors
    schedule_limits.pause(looping, "By zed.")
    schedule_limits.save(looping, form, site="http://127.0.0.1:8000")
    kept.refresh_from_db()
    assert (kept.stop_after, kept.paused_because) == (9, "By zed.")
