"""A pair with tools, thinking, an image and a reply of three turns, read and judged by keyboard."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Project
from tests.annotate.tool_chat import tool_pair
from tests.browser.accessibility import violations_in_both_schemes
from tests.browser.labelling.screen import LABEL, PHONE, Browse, MakePairs, press, vote, votes_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page(browse: Browse, ann: User, project: Project) -> Page:
    """The screen with such a pair; another one of the kind comes next."""
    for number in range(2):
        tool_pair(project, number=number)
    page = browse(ann)
    page.goto(LABEL)
    return page


def opened(page: Page) -> list[bool]:
    return page.locator(".prompt details, .reply details").evaluate_all(
        "parts => parts.map((part) => part.open)"
    )


def test_a_key_unfolds_turns_tools_and_thinking_and_a_vote_goes_on(page: Page, ann: User) -> None:
    bar = page.locator("#bar").bounding_box()
    assert opened(page) == [False, False, False]
    expect(page.get_by_text("Say it plainly.")).to_be_hidden()
    press(page, "e")
    assert opened(page) == [True, True, True]
    expect(page.get_by_text("Say it plainly.")).to_be_visible()
    expect(page.get_by_text("Never promise sunshine.")).to_be_visible()
    assert page.locator("#bar").bounding_box() == bar
    press(page, "e")
    assert opened(page) == [False, False, False]
    vote(page, "1")
    assert [side for side, _ in votes_of(ann)] == ["left"]


def test_the_next_pair_arrives_unfolded_with_the_question_in_sight(page: Page) -> None:
    press(page, "e")
    vote(page, "7")
    assert opened(page) == [True, True, True]
    expect(page.locator(".prompt > .prose").first).to_be_in_viewport(ratio=1)


def test_a_conversation_is_open_up_to_a_height_and_scrolled_to_its_newest_turn(
    browse: Browse, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    turns = [{"role": "user", "content": f"Turn {n}: I ordered a backpack."} for n in range(19)]
    pair.prompt.messages = turns
    pair.prompt.save()
    page = browse(ann)
    page.goto(LABEL)
    box = page.locator(".prompt").bounding_box()
    assert box and box["height"] <= 0.36 * 800 + 1
    for number in (17, 18):
        expect(page.get_by_text(f"Turn {number}:")).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("Turn 0:")).not_to_be_in_viewport()
    press(page, "e")
    whole = page.locator(".prompt").bounding_box()
    assert whole and whole["height"] > 19 * 40


def test_the_views_are_those_of_the_transcript(page: Page) -> None:
    press(page, "r")
    expect(page.locator(".raw").filter(has_text="user: And tomorrow?")).to_be_visible()
    expect(page.locator(".reply .turns")).to_be_hidden()
    press(page, "d")
    expect(page.locator(".raw.diff").first).to_be_visible()
    press(page, "d")
    expect(page.locator(".reply .turns")).to_be_visible()


def test_nothing_of_a_chat_is_loaded(browse: Browse, ann: User, project: Project) -> None:
    tool_pair(project)
    page = browse(ann)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(LABEL)
    page.wait_for_load_state("networkidle")
    expect(page.get_by_text("Image not shown: https://pictures.example")).to_be_visible()
    assert len(hosts) == 1


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_such_a_pair_is_accessible_and_fits(
    browse: Browse, ann: User, project: Project, options: dict[str, object]
) -> None:
    tool_pair(project)
    page = browse(ann, **options)
    page.goto(LABEL)
    for _ in range(2):
        assert violations_in_both_schemes(page) == []
        width = page.viewport_size["width"]  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        press(page, "e")


def test_the_pages_of_reviewers_are_accessible_and_fit(
    browse: Browse, olga: User, project: Project, make_pairs: MakePairs
) -> None:
    pair = tool_pair(project, source_margin=2.5)
    page = browse(olga, viewport={"width": 360, "height": 800})
    for address in (
        f"pairs/{pair.pk}/",
        f"prompts/{pair.prompt_id}/",
        f"adjudicate/?pair={pair.pk}",
    ):
        page.goto(f"/projects/desk/{address}")
        assert violations_in_both_schemes(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
