"""The pages that show training: live without reloading, accessible, no wider than a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django import Settings

from annotate import exchange
from annotate.models import Project
from tests.browser.accessibility import problems, problems_in_every_form, with_all_unfolded
from tests.training.comparison import write
from tests.training.history import (
    SAMPLE,
    add_curve,
    add_policy,
    add_starter,
    make_round,
    write_samples,
)
from training.models import Metric, ModelVersion, Round, Run

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]
PAGES = [
    "/projects/desk/rounds/",
    "/projects/desk/rounds/1/",
    "/projects/desk/rounds/2/",
    "/projects/desk/rounds/3/",
    "/projects/desk/models/",
    "/projects/desk/models/prune/?keep=0",
    "/projects/desk/models/add/",
    "/projects/desk/rounds/new/",
    "/projects/desk/playground/",
    "/projects/desk/completions/",
    "/projects/desk/models/compare/?v=0&v=1",
    "/projects/desk/models/compare/?v=0&v=1&v=2",
    "/projects/empty/models/compare/",
    "/projects/empty/rounds/",
    "/projects/empty/models/",
]


@pytest.fixture
def trained(project: Project, settings: Settings, tmp_path: Path) -> Project:
    """A round that was not promoted, one that failed and one that runs."""
    settings.HOME = tmp_path
    project.train_on_simulated = True
    project.save()
    Project.objects.create(slug="empty", name="Empty")
    add_starter(project)
    exchange.add_prompts(project, [{"messages": [{"role": "user", "content": "Where is it?"}]}])
    done = make_round(project, 1)
    add_policy(done, state="candidate", kl=52.4)
    run = Run.objects.get(round=done)
    write(run.directory / "evaluate", {"before": "policy-0", "after": "policy-1"})
    add_curve(run, [0.1, None, 0.4, 0.8])
    write_samples(run, SAMPLE | {"after": "wide" * 200})
    log = "Traceback\n" + "a long line " * 40
    make_round(project, 2, "failed", done=1, error="It broke. " * 60, log_tail=log)
    live = make_round(project, 3, "running", done=1, stage="train_policy", step=2, total=24)
    add_curve(Run.objects.get(round=live), [0.1, 0.2])
    return project


def newest() -> str:
    """Page of the policy that waits for a decision."""
    return f"/projects/desk/models/{ModelVersion.objects.get(state='candidate').pk}/"


def wrong_with(page: Page, look: Callable[[Page], list[str]]) -> dict[str, list[str]]:
    """The problems of all pages, by their addresses, with all that is folded in sight."""
    problems_of = {}
    for address in [*PAGES, newest()]:
        page.goto(address)
        with_all_unfolded(page)
        problems_of[address] = look(page)
    return {address: found for address, found in problems_of.items() if found}


def test_every_page_passes_axe_and_none_scrolls_sideways(
    browse: Browse, root: User, trained: Project
) -> None:
    assert wrong_with(browse(root), problems) == {}


@pytest.mark.long
def test_every_page_passes_axe_in_every_form(browse: Browse, root: User, trained: Project) -> None:
    assert wrong_with(browse(root), problems_in_every_form) == {}


def test_a_running_round_moves_on_the_screen_and_ends(
    browse: Browse, root: User, trained: Project
) -> None:
    page = browse(root)
    page.goto("/projects/desk/rounds/3/")
    expect(page.get_by_text("Step 2 of 24")).to_be_visible()
    page.locator("#chart-reward-table summary").click()
    run = Run.objects.get(round__number=3)
    Metric.objects.create(run=run, stage="train_policy", step=3, values={"reward": 0.777})
    Run.objects.filter(pk=run.pk).update(step=3)
    expect(page.get_by_text("Step 3 of 24")).to_be_visible()
    # The table the reader opened stays open when its chart is replaced.
    expect(page.locator("#chart-reward-table td", has_text="0.777")).to_be_visible()
    Run.objects.filter(pk=run.pk).update(state="done")
    Round.objects.filter(number=3).update(state="done")
    expect(page.get_by_role("heading", name="Result")).to_be_visible()
    assert page.locator("[hx-trigger]").count() == 0


def test_what_somebody_types_survives_the_polling(
    browse: Browse, root: User, trained: Project
) -> None:
    page = browse(root)
    page.goto("/projects/desk/rounds/")
    votes = page.get_by_label("Votes", exact=True)
    votes.fill("77")
    Run.objects.filter(round__number=3).update(step=5)
    expect(page.get_by_text("Step 5 of 24")).to_be_visible()
    expect(votes).to_have_value("77")
    Run.objects.filter(round__number=3).update(state="cancelled")
    Round.objects.filter(number=3).update(state="cancelled")
    expect(page.locator("#loop[hx-trigger]")).to_have_count(0)
    assert page.get_by_role("row", name="Round 3").get_by_text("Cancelled").is_visible()


def test_buttons_work_without_javascript(browse: Browse, root: User, trained: Project) -> None:
    page = browse(root, java_script_enabled=False)
    page.goto("/projects/desk/rounds/")
    assert page.get_by_role("link", name="Settings of rounds").is_visible()
    page.goto("/projects/desk/rounds/new/")
    assert page.get_by_role("button", name="Start the round").is_disabled()
    page.goto("/projects/desk/rounds/")
    page.get_by_role("button", name="Cancel round").click()
    expect(page.get_by_text("Round 3 stops at the end of its current step")).to_be_visible()
    assert Run.objects.get(round__number=3).cancel_requested
