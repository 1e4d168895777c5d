"""Criteria by keys: compared while their pair is in sight, and sent with the vote."""

from __future__ import annotations

import itertools

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Assignment, Project
from tests.browser.accessibility import violations_in_both_schemes
from tests.browser.labelling.screen import (
    LABEL,
    PHONE,
    Browse,
    MakePairs,
    opened,
    press,
    prompt,
    vote,
    votes_of,
    wait,
)

pytestmark = pytest.mark.django_db(transaction=True)
ALL_SENT = "() => !Object.keys(localStorage).some((name) => name.startsWith('pairloop.unsent.'))"
KEYS = {"left": ("1", "2", "3"), "tie": ("4",), "right": ("5", "6", "7")}


@pytest.fixture
def comparing(project: Project) -> Project:
    project.criteria = ["Helpful", "Correct"]
    project.save()
    return project


def turn(page: Page) -> str:
    return page.locator("[data-criteria-turn]").text_content() or ""


def left_of(page: Page) -> str:
    """The completion that stands on the left: a says that the order is on its way."""
    return "a" if "on its way" in page.locator(".reply .prose").first.inner_text() else "b"


def stored(ann: User) -> list[Assignment]:
    rows = Assignment.objects.filter(annotator=ann, state="voted").select_related("pair")
    return list(rows.order_by("acted_at"))


def test_twenty_pairs_are_stored_as_they_were_judged_on_the_screen(
    browse: Browse, ann: User, comparing: Project, make_pairs: MakePairs
) -> None:
    make_pairs(21)
    page = browse(ann)
    opened(page)
    sides = itertools.product(KEYS, KEYS, ("left", "right", "tie"))
    seen = []
    for number, (helpful, correct, overall) in enumerate(itertools.islice(sides, 20)):
        assert turn(page) == "1 of 2: Helpful"
        said = {"prompt": prompt(page), "left": left_of(page)}
        for name, side in (("Helpful", helpful), ("Correct", correct)):
            page.keyboard.press(KEYS[side][number % len(KEYS[side])]) if number else press(
                page, KEYS[side][0]
            )
            said[name] = side
        assert turn(page) == "Now the overall vote"
        seen.append(said | {"overall": overall})
        vote(page, KEYS[overall][0])
        wait(page)
    rows = stored(ann)
    assert len(rows) == 20
    for row, said in zip(rows, seen, strict=True):
        completions = {"left": said["left"], "right": "ba"["ab".index(said["left"])], "tie": "tie"}
        assert row.pair.prompt.messages[-1]["content"] == said["prompt"]
        assert row.left == said["left"]
        assert row.choice == completions[said["overall"]]
        assert row.criteria == {name: completions[said[name]] for name in ("Helpful", "Correct")}
        assert row.criteria_asked == "with_pair"


def test_a_vote_taken_back_shows_its_comparisons_and_they_are_corrected(
    browse: Browse, ann: User, comparing: Project, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    for key in ("1", "4"):
        press(page, key)
    vote(page, "2")
    vote(page, "u")
    assert turn(page) == "Now the overall vote"
    checked = page.locator("#criteria input:checked")
    assert checked.evaluate_all("all => all.map((one) => one.value)") == ["left", "tie"]
    press(page, "Backspace")
    press(page, "7")
    vote(page, "6")
    (row,) = stored(ann)
    other = "b" if row.left == "a" else "a"
    assert (row.choice, row.criteria) == (other, {"Helpful": row.left, "Correct": other})


def test_criteria_may_be_left_out_by_a_key_and_wait_offline_with_their_vote(
    browse: Browse, ann: User, comparing: Project, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    page.context.set_offline(True)
    press(page, "7")
    press(page, "v")
    press(page, "1")
    expect(page.locator("#screen")).to_contain_text("1 of 2: Helpful")
    press(page, "v")
    press(page, "8")
    page.context.set_offline(False)
    wait(page, 20_000)
    # The state says ✓ after the first of them already.
    page.wait_for_function(ALL_SENT)
    first, second = stored(ann)
    assert first.criteria == {"Helpful": "b" if first.left == "a" else "a"}
    assert (second.criteria, second.criteria_asked) == ({}, "unasked")
    console.clear()


def test_a_project_may_want_every_comparison_first(
    browse: Browse, ann: User, comparing: Project, make_pairs: MakePairs
) -> None:
    comparing.criteria_required = True
    comparing.scale = "binary"
    comparing.save()
    make_pairs(2)
    page = opened(browse(ann))
    press(page, "ArrowDown")
    wait(page)
    page.get_by_role("button", name="A better").click()
    expect(page.locator("#announcer")).to_have_text("First 2 of 2: Correct.")
    expect(page.get_by_role("button", name="Skip criteria")).to_have_count(0)
    assert votes_of(ann) == []
    press(page, "ArrowRight")
    vote(page, "1")
    (row,) = stored(ann)
    assert row.criteria == {"Helpful": "tie", "Correct": "b" if row.left == "a" else "a"}


def test_criteria_are_compared_without_scripts(
    browse: Browse, ann: User, comparing: Project, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    page = browse(ann, java_script_enabled=False)
    page.goto(LABEL)
    page.get_by_role("radiogroup", name="Correct").get_by_role("radio", name="B").check()
    page.get_by_role("button", name="A much better").click()
    (row,) = stored(ann)
    assert row.criteria == {"Correct": "b" if row.left == "a" else "a"}


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desktop", "phone"])
def test_criteria_are_in_reach_accessible_and_move_nothing(
    browse: Browse, ann: User, comparing: Project, make_pairs: MakePairs, options: dict[str, object]
) -> None:
    make_pairs(3)
    page = opened(browse(ann, **options))
    parts = (".prompt", ".reply >> nth=0", ".bar", ".scale")
    before = [page.locator(part).bounding_box() for part in parts]
    for step in range(3):
        assert violations_in_both_schemes(page) == []
        assert [page.locator(part).bounding_box() for part in parts] == before
        if step < 2:
            shown = page.locator("#criteria [data-active] label").nth(step)
            box = shown.bounding_box()
            assert box and box["width"] >= 44 and box["height"] >= (44 if options else 34)
            shown.tap() if options else shown.click()
    vote(page, "2")
    assert [page.locator(part).bounding_box() for part in parts] == before
    (row,) = stored(ann)
    assert row.criteria == {"Helpful": row.left, "Correct": "tie"}
