"""Three rounds that nobody starts, one of which fails, as an admin meets them afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core import mail
from playwright.sync_api import Page, expect
from pytest_django import Settings

from annotate.models import Project
from tests.browser.accessibility import violations
from tests.training.conftest import FAKE_ENGINE, vote_on
from training.models import Run
from training.versions import promotion
from training.worker import scheduler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def settled(
    project: Project, worker: None, settings: Settings, tmp_path: Path
) -> Iterator[Project]:
    """A project with a starter, and rounds that take a moment."""
    settings.LAUNCHER = f"{sys.executable} {django_settings.BASE_DIR / FAKE_ENGINE}"
    settings.EMAIL_URL = "smtp://localhost"
    (tmp_path / "starter").mkdir()
    (tmp_path / "runs").mkdir()
    promotion.adopt_starter(project, "starter")
    yield project


def test_three_rounds_run_by_themselves_one_fails_and_the_page_and_the_mail_tell_of_it(
    browse: Callable[..., Page],
    settled: Project,
    zed: User,
    ann: User,
    ben: User,
    make_pairs: Callable[..., Any],
    tmp_path: Path,
) -> None:
    User.objects.filter(pk=zed.pk).update(email="zed@example.org")
    page = browse(zed)
    page.goto("/projects/desk/rounds/schedule/")
    expect(page.get_by_role("heading", name="Nothing has happened yet")).to_be_visible()
    page.get_by_label("After so many resolved pairs").fill("40")
    page.get_by_label("Pause after rounds without a gain").fill("5")
    page.get_by_label("zed").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Rounds start by themselves")).to_be_visible()
    page.goto("about:blank")  # Nobody watches.

    for n in (1, 2, 3):
        vote_on(make_pairs(60), ann, ben)
        how = {"exit": {"train_policy": 1}} if n == 2 else {}
        (tmp_path / "runs" / "behaviour.json").write_text(json.dumps(how))
        scheduler.tick()
        ended(page, n, "failed" if n == 2 else "done")
    scheduler.tick()

    page.goto("/projects/desk/rounds/schedule/")
    events = page.get_by_role("region", name="Events of the loop")
    for n, told in ((1, "Round done"), (2, "Round failed"), (3, "Round done")):
        of_round = events.get_by_role("row").filter(has=page.get_by_role("link", name=str(n)))
        expect(of_round.filter(has_text="Round started by itself")).to_have_count(1)
        expect(of_round.filter(has_text=told)).to_have_count(1)
    failed = events.get_by_role("row", name="Round failed")
    expect(failed).to_contain_text("CUDA out of memory")
    assert violations(page) == []
    failed.get_by_role("link", name="2").click()
    expect(page.get_by_role("heading", name="Round 2")).to_be_visible()
    expect(page.get_by_text("CUDA out of memory").first).to_be_visible()
    told = [sent for sent in mail.outbox if "round failed" in sent.subject]
    assert len(told) == 1 and told[0].to == ["zed@example.org"]
    assert "CUDA out of memory" in str(told[0].body)


def ended(page: Page, number: int, state: str) -> None:
    """Wait until the round is over, without looking at it."""
    for _ in range(1200):
        if Run.objects.filter(round__number=number, state=state).exists():
            return
        page.wait_for_timeout(100)
    pytest.fail(f"round {number} did not end as {state}")
