"""Saying why, after a vote: one key or none, about the pair it names, and never over the next."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from annotate.models import Assignment, Flag, Project
from tests.browser.accessibility import violations_in_both_schemes
from tests.browser.labelling.screen import PHONE, Browse, MakePairs, opened, press, prompt, vote

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def asking(project: Project, make_pairs: MakePairs) -> Project:
    """Reasons and four pairs."""
    make_pairs(4)
    project.reason_chips = ["accuracy", "clarity", "tone"]
    project.save()
    return project


def test_reasons_and_a_comment_follow_a_vote_by_key(
    browse: Browse, ann: User, asking: Project
) -> None:
    page = opened(browse(ann))
    expect(page.locator("#last")).not_to_be_visible()
    about = prompt(page)
    vote(page, "1")
    expect(page.locator("#last")).to_contain_text(f"A much better {about}")
    press(page, "a")
    press(page, "c")
    press(page, "n")
    page.keyboard.type("1 is right, 7 is not")
    page.keyboard.press("Enter")
    expect(page.locator(".last-said")).to_have_text("noted ✓")
    row = Assignment.objects.get(annotator=ann, state="voted")
    assert (row.reasons, row.comment) == (["accuracy", "clarity"], "1 is right, 7 is not")
    assert row.pair.prompt.messages[-1]["content"] == about
    # The keys of the next vote are not caught by it.
    vote(page, "7")
    assert Assignment.objects.filter(annotator=ann, state="voted").count() == 2


def test_escape_leaves_the_comment_unsaid(browse: Browse, ann: User, asking: Project) -> None:
    page = opened(browse(ann))
    vote(page, "1")
    press(page, "n")
    expect(page.locator("#last-comment")).to_be_focused()
    page.keyboard.type("never mind")
    page.keyboard.press("Escape")
    expect(page.locator("#last-comment")).not_to_be_visible()
    vote(page, "2")
    assert set(Assignment.objects.filter(state="voted").values_list("comment", flat=True)) == {""}


def test_a_skip_is_asked_why_and_not_held_up(browse: Browse, ann: User, asking: Project) -> None:
    page = opened(browse(ann))
    vote(page, "s")
    press(page, "t")
    expect(page.locator(".last-said")).to_have_text("noted ✓")
    assert Assignment.objects.get(annotator=ann, state="skipped").skip_reason == "hard"


def test_undo_takes_the_question_away(browse: Browse, ann: User, asking: Project) -> None:
    page = opened(browse(ann))
    vote(page, "1")
    expect(page.locator("#last")).to_be_visible()
    vote(page, "u")
    expect(page.locator("#last")).not_to_be_visible()


def test_a_pair_is_warned_of_with_two_keys(browse: Browse, ann: User, asking: Project) -> None:
    page = opened(browse(ann))
    press(page, "f")
    expect(page.locator("#flags")).to_be_focused()
    press(page, "1")
    press(page, "p")
    expect(page.locator("#flags")).not_to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("Warning noted")
    assert [flag.kind for flag in Flag.objects.all()] == ["pii"]
    assert not Assignment.objects.filter(state="voted").exists()


def test_everything_is_in_reach_on_a_phone(browse: Browse, ann: User, asking: Project) -> None:
    asking.scale = "four"
    asking.save()
    page = opened(browse(ann, **PHONE))
    page.locator(".point").first.tap()
    expect(page.locator("#last")).to_be_visible()
    page.get_by_role("button", name="tone").tap()
    expect(page.locator(".last-said")).to_have_text("noted ✓")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    buttons = page.locator(":is(.dock, #last) button:visible")
    boxes = [box.bounding_box() for box in buttons.all()]
    assert all(box and box["width"] >= 44 and box["height"] >= 44 for box in boxes)
    assert Assignment.objects.get(state="voted").input == "touch"


@pytest.mark.parametrize("width", [360, 899, 1280])
def test_what_is_said_of_the_pair_before_covers_nothing_and_moves_nothing(
    browse: Browse, ann: User, asking: Project, width: int
) -> None:
    asking.allow_rewrites = True
    asking.save()
    page = opened(browse(ann, viewport={"width": width, "height": 740}))
    parts = (".prompt", ".reply >> nth=0", ".bar")
    before = [page.locator(part).bounding_box() for part in parts]
    vote(page, "s")
    vote(page, "1")
    assert [page.locator(part).bounding_box() for part in parts] == before
    last, below = page.locator("#last").bounding_box(), before[0]
    assert last and below and last["y"] + last["height"] <= below["y"]
    token = Assignment.objects.get(annotator=ann, state="voted").token
    link = page.get_by_role("link", name="Better answer")
    expect(link).to_have_attribute("href", re.compile(f"/projects/desk/votes/#vote-{token}$"))
    assert violations_in_both_schemes(page) == []
