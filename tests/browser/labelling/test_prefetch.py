"""The next pair comes before the vote is saved, and no vote is lost or doubled on the way."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from tests.browser.labelling.screen import (
    Browse,
    MakePairs,
    held,
    let_go,
    opened,
    press,
    prompt,
    vote,
    votes_of,
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
    expect(page.locator(".tally")).to_contain_text("1 of your 50 today")
    assert votes_of(ann) == [("left", 2)]


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
