"""Keys that a person gives their own names."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Project
from annotate.votes import scales
from tests.browser.accessibility import violations_in_both_schemes
from tests.browser.labelling.screen import LABEL, Browse, MakePairs, opened, press, vote, votes_of

pytestmark = pytest.mark.django_db(transaction=True)


def change(page: Page, caption: str, *keys: str) -> None:
    """In the list of keys, press an action's button and then these keys."""
    page.get_by_role("button", name=f"Change the key of “{caption}”").click()
    for key in keys:
        page.keyboard.press(key)


def said(page: Page, text: str) -> None:
    expect(page.locator("#keys-said")).to_contain_text(text)


def test_a_key_is_changed_by_keyboard_and_printed_on_its_button(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    press(page, "?")
    page.get_by_role("button", name="Change the key of “A much better”").focus()
    page.keyboard.press("Enter")
    said(page, "Press the new key for “A much better”")
    page.keyboard.press("j")
    said(page, "A much better: j.")
    change(page, "Undo", "z")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).not_to_be_visible()
    expect(page.get_by_role("button", name="A much better j")).to_be_visible()
    expect(page.get_by_role("button", name="Undo z")).to_be_visible()
    press(page, "1")
    vote(page, "j")
    expect(page.get_by_role("button", name="A much better j")).to_be_visible()
    assert votes_of(ann) == [("left", 3)]
    vote(page, "z")
    assert votes_of(ann) == []
    page.reload()
    page.wait_for_load_state("networkidle")
    vote(page, "j")
    assert votes_of(ann) == [("left", 3)]


def test_a_key_that_is_taken_or_none_is_refused(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    page = opened(browse(ann))
    press(page, "?")
    change(page, "Undo", "s")
    said(page, "“s” already is “Skip”. Press another one, or Escape.")
    page.keyboard.press("F2")
    said(page, "Only letters, digits and signs can be keys.")
    page.keyboard.press("9")
    said(page, "“9” is a vote in projects with more answers.")
    page.keyboard.press("Escape")
    said(page, "Left as it was.")
    expect(page.locator("#help")).to_be_visible()
    change(page, "Undo", "Tab")
    said(page, "Left as it was.")
    # What was given away is free, and what was taken is not.
    change(page, "Undo", "z")
    change(page, "Skip", "z")
    said(page, "“z” already is “Undo”.")
    page.keyboard.press("u")
    said(page, "Skip: u.")
    page.keyboard.press("Escape")
    vote(page, "u")
    expect(page.locator("#state")).to_contain_text("Skipped")


def test_all_keys_are_reset(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(2)
    page = opened(browse(ann))
    press(page, "?")
    change(page, "A much better", "j")
    page.get_by_role("button", name="Reset all keys").click()
    said(page, "All keys are as they were at first.")
    page.keyboard.press("Escape")
    press(page, "j")
    vote(page, "1")
    assert votes_of(ann) == [("left", 3)]


def test_a_changed_key_holds_for_its_place_on_every_scale(
    browse: Browse, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(5)
    page = opened(browse(ann))
    press(page, "?")
    change(page, "A slightly better", "c")
    expected = []
    for scale in scales.SCALES:
        Project.objects.update(scale=scale)
        page.goto(LABEL)
        page.wait_for_load_state("networkidle")
        expect(page.locator("[data-key~='3'] kbd").first).to_have_text("c")
        vote(page, "c")
        point = scales.all_points(scale)["3"]
        expected.append((point.choice, point.strength if point.choice in ("left", "right") else 0))
    assert votes_of(ann) == expected


def test_a_changed_key_goes_before_the_letter_of_a_reason(
    browse: Browse, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    project.reason_chips = ["accuracy", "clarity"]
    project.save()
    page = opened(browse(ann))
    press(page, "?")
    change(page, "B much better", "a")
    change(page, "Raw", "x")
    page.keyboard.press("Escape")
    vote(page, "a")
    expect(page.locator("[data-reason=accuracy] kbd")).to_be_hidden()
    expect(page.locator("[data-reason=clarity] kbd")).to_have_text("c")
    vote(page, "a")
    assert votes_of(ann) == [("right", 3), ("right", 3)]
    # In a list of its own a letter keeps its meaning.
    expect(page.locator("#flags [data-letter=x] kbd")).not_to_have_attribute("hidden", "")
    press(page, "f")
    press(page, "x")
    expect(page.locator("#flags")).not_to_be_visible()
    expect(page.locator("#announcer")).to_contain_text("Warning noted")


def test_another_tab_learns_of_a_changed_key(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    page = opened(browse(ann))
    other = opened(page.context.new_page())
    press(other, "?")
    change(other, "Skip", "k")
    expect(page.get_by_role("button", name="Skip k")).to_be_visible()


def test_the_list_of_keys_is_accessible(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(1)
    page = opened(browse(ann))
    press(page, "?")
    change(page, "Undo", "s")
    assert violations_in_both_schemes(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    press(page, "f")
    assert violations_in_both_schemes(page) == []
