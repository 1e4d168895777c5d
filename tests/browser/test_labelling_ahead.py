"""The next pair comes before the vote is saved, and no vote is lost or doubled on the way."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Route, expect

from annotate.models import Assignment
from tests.browser.labelling import (
    Browse,
    MakePairs,
    held,
    let_go,
    opened,
    press,
    prompt,
    sign_in,
    vote,
    votes_of,
    wait,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_next_pair_is_shown_before_the_vote_is_saved(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    first = prompt(page)
    routes = held(page, "**/vote/")
    press(page, "2")
    expect(page.locator(".prompt .prose")).not_to_have_text(first)
    expect(page.locator("#state")).to_have_text("Saving …")
    assert votes_of(ann) == []
    let_go(page, "**/vote/", routes)
    expect(page.locator("#state")).to_contain_text("A better")
    expect(page.locator(".tally")).to_contain_text("1 today")
    assert votes_of(ann) == [("left", 2)]


def test_votes_without_a_connection_wait_in_order(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    page.context.set_offline(True)
    for key in ("1", "7"):
        press(page, key)
    expect(page.locator("#state")).to_contain_text("Not saved yet: 2 acts", timeout=15_000)
    press(page, "4")
    assert votes_of(ann) == []
    page.context.set_offline(False)
    expect(page.locator("#state")).to_have_text(re.compile("✓.*B much better"), timeout=20_000)
    expect(page.locator("#bar[data-busy]")).to_have_count(0)
    assert votes_of(ann) == [("left", 3), ("right", 3)]
    console.clear()


def test_unsent_votes_survive_a_reload(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    page.on("dialog", lambda dialog: dialog.accept())
    page.route("**/vote/", lambda route: route.abort())
    for key in ("1", "7"):
        press(page, key)
    expect(page.locator("#state")).to_contain_text("Not saved yet")
    page.unroute("**/vote/")
    page.reload()
    expect(page.locator("#state")).to_have_text(re.compile("✓.*B much better"))
    assert votes_of(ann) == [("left", 3), ("right", 3)]
    vote(page, "2")
    assert len(votes_of(ann)) == 3
    console.clear()


def test_a_vote_whose_answer_was_lost_counts_once(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    lost: list[int] = []

    def lose(route: Route) -> None:
        lost.append(route.fetch().status)
        route.abort()

    page.route("**/vote/", lose, times=1)
    press(page, "6")
    expect(page.locator("#state")).to_contain_text("✓", timeout=15_000)
    assert lost == [200]
    assert votes_of(ann) == [("right", 2)]
    assert Assignment.objects.get(state="voted").revision == 1
    console.clear()


def test_undo_waits_until_the_vote_is_saved(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    first = prompt(page)
    routes = held(page, "**/vote/")
    press(page, "1")
    press(page, "u")
    expect(page.locator("#state")).to_have_text("Taking back …")
    let_go(page, "**/vote/", routes)
    expect(page.locator(".prompt .prose")).to_have_text(first)
    expect(page.locator("#state")).to_have_text("Taken back")
    assert votes_of(ann) == []


def test_five_votes_are_taken_back_one_after_the_other(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(7)
    page = opened(browse(ann))
    seen = []
    for _ in range(5):
        seen.append(prompt(page))
        vote(page, "1")
    for expected in reversed(seen):
        vote(page, "u")
        assert prompt(page) == expected
    assert votes_of(ann) == []


def test_two_tabs_on_one_pair_store_one_vote(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    one = opened(browse(ann))
    two = opened(one.context.new_page())
    assert prompt(one) == prompt(two)
    vote(one, "1")
    two.bring_to_front()
    press(two, "7")
    expect(two.locator("#state")).to_contain_text("already voted differently")
    assert votes_of(ann) == [("left", 3)]
    vote(two, "7")
    assert votes_of(ann) == [("left", 3), ("right", 3)]


def test_the_back_button_never_brings_a_judged_pair(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    first = prompt(page)
    vote(page, "1")
    page.goto("/projects/desk/guidelines/")
    page.go_back()
    page.wait_for_load_state("networkidle")
    assert prompt(page) != first
    vote(page, "7")
    assert votes_of(ann) == [("left", 3), ("right", 3)]


def test_what_was_pressed_after_the_session_ended_is_saved_after_signing_in(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    vote(page, "1")
    page.context.clear_cookies(name="sessionid")
    press(page, "7")
    expect(page).to_have_url(re.compile("/accounts/login/"))
    sign_in(page)
    expect(page.locator("#state")).to_have_text(re.compile("✓.*B much better"))
    wait(page)
    assert votes_of(ann) == [("left", 3), ("right", 3)]
