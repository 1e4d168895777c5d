"""What stands before a person's first vote where a project wants it: guidelines and questions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.gold import gold_pairs
from annotate.models import Pair, Project
from tests.browser.accessibility import violations
from tests.browser.labelling.screen import press

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_a_newcomer_reads_answers_and_votes_by_keyboard_on_accessible_pages(
    browse: Callable[..., Page],
    ann: User,
    project: Project,
    make_pairs: Callable[..., list[Pair]],
    scheme: str,
    width: int,
) -> None:
    question, _ = make_pairs(2)
    gold_pairs.make_gold(question, "tie", "Both say where the order is.", qualification=True)
    project.read_guidelines = project.qualification = True
    project.save()
    page = browse(
        ann,
        color_scheme=scheme,
        viewport={"width": width, "height": 720},
        reduced_motion="reduce",
    )

    def shows(name: str) -> None:
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    page.goto("/projects/desk/label/")
    shows("Please read the guidelines first")
    press(page, "y")
    shows("First, the qualification")
    press(page, "y")
    shows("1 question before you start")
    press(page, "Enter")
    expect(page.get_by_role("article")).to_have_count(2)
    assert violations(page) == []
    press(page, "4")
    shows("Right: About the same")
    expect(page.get_by_text("Both say where the order is.")).to_be_visible()
    press(page, "y")
    shows("You have passed")
    press(page, "Enter")
    expect(page.get_by_role("article")).to_have_count(2)
    expect(page.get_by_role("button", name="Skip")).to_be_visible()
