"""A project of prompts alone gets a model and its first pairs, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django import Settings

from annotate import exchange
from annotate.models import Project
from tests.browser.accessibility import violations
from tests.training.rlhf import tiny

pytestmark = pytest.mark.django_db(transaction=True)


def test_from_an_empty_screen_by_a_model_to_the_first_pair(
    browse: Callable[..., Page],
    project: Project,
    zed: User,
    worker: None,
    settings: Settings,
    tmp_path: Path,
) -> None:
    settings.MODEL_ROOTS = [str(tmp_path / "offered")]
    tiny.llama(tmp_path / "offered" / "tiny", sharpness=4.0)
    chats = [[{"role": "user", "content": f"Where is parcel {i}?"}] for i in range(6)]
    exchange.add_prompts(project, ({"messages": chat} for chat in chats))
    page = browse(zed, viewport={"width": 360, "height": 740})
    page.goto("/projects/desk/rounds/")
    page.get_by_role("link", name="Add a model").click()
    expect(page.get_by_label("Name on the hub")).to_be_hidden()
    page.get_by_label("Folder", exact=True).fill("tiny")
    assert violations(page) == []
    page.get_by_role("button", name="Check and add it").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.get_by_role("heading", name="It is policy-0")).to_be_visible(timeout=120_000)
    assert violations(page) == []
    page.get_by_role("link", name="Write first completions").click()
    page.get_by_label("Longest reply").fill("16")
    page.get_by_role("button", name="Show three prompts first").click()
    start = page.get_by_role("button", name="Write all of them")
    expect(start).to_be_enabled(timeout=120_000)
    start.click()
    label = page.get_by_role("link", name="Label them")
    expect(label).to_be_visible(timeout=120_000)
    label.click()
    expect(page.locator("article.reply")).to_have_count(2)
    expect(page.get_by_text("Where is parcel").first).to_be_visible()
