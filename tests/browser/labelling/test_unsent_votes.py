"""No vote is lost or doubled, whatever happens to the connection, the tab or the sign-in."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from annotate.models import Assignment
from tests.browser.labelling.screen import (
    LABEL,
    Browse,
    MakePairs,
    opened,
    press,
    prompt,
    sign_in,
    stop_the_clock,
    vote,
    votes_of,
    wait,
)

pytestmark = pytest.mark.django_db(transaction=True)


def vote_unheard(page: Page, *keys: str) -> None:
    """Votes whose requests never arrive."""
    page.route("**/vote/", lambda route: route.abort())
    for key in keys:
        press(page, key)
    expect(page.locator("#state")).to_contain_text("Not saved yet")


def sign_out(page: Page) -> None:
    page.locator(".header-side details.menu summary").click()
    page.get_by_role("button", name="Sign out").click()


def test_offline_for_half_a_minute(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    page.context.set_offline(True)
    expect(page.locator("#state")).to_contain_text("Offline. What you press is kept")
    press(page, "1")
    press(page, "7")
    expect(page.locator("#state")).to_contain_text("Offline. Not saved yet: 2 acts")
    # A third pair is nobody's yet, so there is nothing to judge.
    press(page, "4")
    expect(page.locator("#bar[data-busy]")).to_have_count(1)
    for _ in range(3):
        wait(page, 10_000)
        expect(page.locator("#state")).to_contain_text("Offline. Not saved yet: 2 acts")
    assert votes_of(ann) == []
    page.context.set_offline(False)
    expect(page.locator("#state")).to_have_text(re.compile("✓.*B much better"))
    expect(page.locator("#bar[data-busy]")).to_have_count(0)
    assert votes_of(ann) == [("left", 3), ("right", 3)]
    vote(page, "4")
    assert votes_of(ann)[2:] == [("tie", 0)]
    console.clear()


def test_a_connection_that_comes_back_unused_is_said(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    page = opened(browse(ann))
    page.context.set_offline(True)
    expect(page.locator("#state")).to_contain_text("Offline")
    page.context.set_offline(False)
    expect(page.locator("#state")).to_have_text("Online again.")


def test_unsent_votes_survive_a_reload(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    stop_the_clock(page)  # so that none is sent again before the reload
    page.on("dialog", lambda dialog: dialog.accept())
    vote_unheard(page, "1", "7")
    page.unroute("**/vote/")
    page.reload()
    expect(page.locator("#state")).to_have_text(re.compile("✓.*B much better"))
    assert votes_of(ann) == [("left", 3), ("right", 3)]
    vote(page, "2")
    assert len(votes_of(ann)) == 3
    console.clear()


def test_unsent_votes_are_sent_from_the_next_tab(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    closed = opened(browse(ann))
    vote_unheard(closed, "1", "7")
    closed.close()
    page = opened(closed.context.new_page())
    expect(page.locator("#state")).to_have_text(re.compile("✓.*B much better"))
    assert votes_of(ann) == [("left", 3), ("right", 3)]
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
    expect(page.locator("#state")).to_contain_text("Not saved yet")
    wait(page, 2000)
    expect(page.locator("#state")).to_contain_text("✓")
    assert lost == [200]
    assert votes_of(ann) == [("right", 2)]
    assert Assignment.objects.get(state="voted").revision == 1
    console.clear()


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
    assert votes_of(ann) == [("left", 3), ("right", 3)]


def test_a_vote_is_saved_after_signing_in_again_elsewhere(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    other = opened(page.context.new_page())
    sign_out(other)
    sign_in(other)
    expect(other).to_have_url(re.compile(LABEL))
    page.bring_to_front()
    press(page, "1")
    expect(page.locator("#state")).to_contain_text("✓")
    assert votes_of(ann) == [("left", 3)]
    console.clear()  # the browser notes the 403 of the old form token


def test_unsent_votes_wait_for_their_author_while_somebody_else_is_signed_in(
    browse: Browse, ann: User, ben: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(4)
    page = opened(browse(ann))
    other = opened(page.context.new_page())
    sign_out(other)
    sign_in(other, "ben")
    expect(other).to_have_url(re.compile(LABEL))
    page.bring_to_front()
    press(page, "1")
    expect(page.locator(".header-side details.menu summary")).to_have_text("ben")
    expect(page.locator("#state")).to_contain_text("Somebody else’s votes wait in this browser")
    vote(page, "7")
    assert (votes_of(ann), votes_of(ben)) == ([], [("right", 3)])
    sign_out(page)
    sign_in(page, "ann")
    expect(page.locator("#state")).to_contain_text("A much better")
    assert (votes_of(ann), votes_of(ben)) == ([("left", 3)], [("right", 3)])
    console.clear()  # the browser notes the 403 of the old form token
