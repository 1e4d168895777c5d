"""From an empty installation to a comparison and an export, in the browser alone."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django import Settings

from tests.training import fake_endpoint
from tests.training.conftest import FAKE_ENGINE
from tests.training.fake_endpoint import Server
from tests.training.rlhf import tiny

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]
PROMPTS = "prompt\n" + "".join(f"Where is parcel {i}?\n" for i in range(40))
PASSWORD = "a long enough sentence"
PATIENCE = 120_000
VOTES = 30


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of chat completions; its model `new` says more than its model `old`."""
    with fake_endpoint.running() as running:
        running.models = ["old", "new"]
        running.says = _reply
        yield running


def _reply(body: dict[str, Any]) -> str:
    asked = str(body["messages"][-1]["content"]).rstrip("?")
    more = " It was sent on Monday." if body["model"] == "new" else ""
    return f"{asked.removeprefix('Where is ').capitalize()} comes tomorrow.{more}"


def opened(page: Page, group: str, tab: str = "") -> None:
    """Go to a page of the project as everybody does, by the header."""
    page.locator(".tabs").get_by_role("link", name=group, exact=True).click()
    if tab:
        page.get_by_role("link", name=tab, exact=True).first.click()


def test_prompts_and_a_server_become_votes_a_comparison_and_an_export(
    browse: Browse,
    root: User,
    worker: None,
    server: Server,
    settings: Settings,
    tmp_path: Path,
) -> None:
    settings.ENDPOINT_HOSTS = [server.url.removesuffix("/v1")]
    settings.MODEL_ROOTS = [str(tmp_path / "offered")]
    tiny.llama(tmp_path / "offered" / "tiny", sharpness=4.0)
    (tmp_path / "prompts.csv").write_text(PROMPTS)
    page = browse(root)
    a_project_of_prompts(page, tmp_path / "prompts.csv")
    a_model_of_the_server(page, server, "new")
    first_completions(page)
    people = [an_invited_person(page, browse, name) for name in ("Nora", "Otto")]
    for person in people:
        votes(person)
    a_round(page, settings)
    a_comparison(page)
    an_export(page)


def a_project_of_prompts(page: Page, file: Path) -> None:
    page.goto("/")
    page.get_by_role("link", name="New project").first.click()
    page.get_by_label("Name", exact=True).fill("Parcels")
    page.get_by_role("button", name="Create project").click()
    page.get_by_role("link", name="Import").first.click()
    page.locator("input[type=file]").first.set_input_files(file)
    page.wait_for_url("**/import/*-*/")
    page.get_by_role("button", name="Import 40").click()
    expect(page.get_by_text("40 prompts").first).to_be_visible()


def a_model_of_the_server(page: Page, server: Server, name: str) -> None:
    opened(page, "Training", "Models")
    page.get_by_role("link", name="Add a model").first.click()
    page.get_by_label("Behind an OpenAI-compatible server").check()
    page.get_by_label("Address of the server").fill(server.url)
    page.get_by_label("Model (optional)", exact=True).fill(name)
    page.get_by_role("button", name="Check and add it").click()
    expect(page.get_by_role("heading", name="It answers")).to_be_visible(timeout=PATIENCE)


def first_completions(page: Page) -> None:
    """By the model that was checked, against an older one of the same server."""
    page.get_by_role("link", name="Write first completions").click()
    page.get_by_label("Compared with").select_option("A server (endpoint)")
    page.get_by_label("Second model").fill("old")
    page.get_by_label("Replies per prompt").fill("1")
    page.get_by_role("button", name="Show three prompts first").click()
    start = page.get_by_role("button", name="Write all of them")
    expect(start).to_be_enabled(timeout=PATIENCE)
    start.click()
    expect(page.get_by_role("link", name="Label them")).to_be_visible(timeout=PATIENCE)


def an_invited_person(admin: Page, browse: Browse, name: str) -> Page:
    opened(admin, "People")
    admin.get_by_label("For whom").first.fill(name)
    admin.get_by_role("button", name="Make links").click()
    guest = browse()
    guest.goto(admin.locator(".notice code").first.inner_text())
    guest.get_by_label("Your name here").fill(name.lower())
    guest.get_by_label("Password", exact=True).fill(PASSWORD)
    guest.get_by_role("button", name="Make an account and join").click()
    expect(guest.locator("article.reply")).to_have_count(2)
    return guest


def votes(page: Page) -> None:
    """The same opinion on every pair: who says when it was sent is better."""
    for _ in range(VOTES):
        screen = page.locator("#screen")
        before = screen.get_attribute("data-token") or ""
        left = page.locator("article.reply").first.inner_text()
        page.clock.run_for(200)
        page.keyboard.press("2" if "sent on Monday" in left else "6")
        expect(screen).not_to_have_attribute("data-token", before)


def a_round(page: Page, settings: Settings) -> None:
    opened(page, "Training", "Rounds")
    page.get_by_role("link", name="Add a model").first.click()
    page.get_by_label("Folder", exact=True).fill("tiny")
    page.get_by_role("button", name="Check and add it").click()
    expect(page.get_by_role("heading", name="It is ")).to_be_visible(timeout=PATIENCE)
    settings.LAUNCHER = f"{sys.executable} {django_settings.BASE_DIR / FAKE_ENGINE}"
    opened(page, "Training", "Rounds")
    page.get_by_role("link", name="Start a round").click()
    page.get_by_role("button", name="Start the round").click()
    row = page.get_by_role("row", name=re.compile("Round 1"))
    expect(row).to_contain_text("Done", timeout=PATIENCE)
    settings.LAUNCHER = ""


def a_comparison(page: Page) -> None:
    """By people: which of the two models of the server wrote the better replies."""
    opened(page, "Training", "Leaderboard")
    first = page.get_by_role("table").get_by_role("row").nth(1)
    expect(first).to_contain_text("new")
    opened(page, "Training", "Compare")
    page.get_by_label("policy-0").check()
    page.get_by_label("policy-1").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("columnheader", name="policy-1")).to_be_visible()


def an_export(page: Page) -> None:
    opened(page, "Data", "Export")
    page.get_by_role("button", name="Make a version").click()
    link = page.get_by_role("region", name="Dataset versions").get_by_role(
        "link", name="trl", exact=True
    )
    with page.expect_download() as download:
        link.click()
    rows = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    assert rows and all("sent on Monday" in row["chosen"] for row in rows)
