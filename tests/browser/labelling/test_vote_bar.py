"""Where the vote bar stands, and what lights up above it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Pair
from tests.browser.labelling.screen import Browse, MakePairs, opened, vote

pytestmark = pytest.mark.django_db(transaction=True)
TALL = {"width": 1280, "height": 1200}


def write(pairs: list[Pair], texts: Callable[[int], str]) -> None:
    for number, pair in enumerate(pairs):
        for completion in (pair.completion_a, pair.completion_b):
            completion.text = f"{completion.pk}: " + texts(number)
            completion.save()


def edges(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["y"], box["y"] + box["height"]


def test_the_vote_bar_follows_short_texts_at_one_place(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    write(make_pairs(2), lambda number: "Your order is on its way. " * (1 + 8 * number))
    page = opened(browse(ann, viewport=TALL))
    places = [edges(page, ".scale")[0]]
    ends = [edges(page, "#card-A")[1]]
    vote(page, "2")
    places.append(edges(page, ".scale")[0])
    ends.append(edges(page, "#card-A")[1])
    assert places[0] == places[1]
    assert ends[0] != ends[1] and max(ends) < places[0] < max(ends) + 200


def test_below_long_texts_the_vote_bar_stands_at_the_end_of_the_window(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    write(make_pairs(1), lambda _: "Your order is on its way. " * 120)
    page = opened(browse(ann, viewport={"width": 1280, "height": 740}))
    assert edges(page, "#bar")[1] == 740
    assert edges(page, ".bar-side")[1] > 700


def test_the_side_that_a_vote_speaks_for_lights_up(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    page = opened(browse(ann))
    plain = page.locator("#card-A").evaluate("card => getComputedStyle(card).borderColor")
    for name, lit, other in (("A better", "A", "B"), ("B much better", "B", "A")):
        page.get_by_role("button", name=name).first.hover()
        expect(page.locator(f"#card-{lit}")).not_to_have_css("border-color", plain)
        expect(page.locator(f"#card-{other}")).to_have_css("border-color", plain)
    page.get_by_role("button", name="About the same").hover()
    for card in ("A", "B"):
        expect(page.locator(f"#card-{card}")).to_have_css("border-color", plain)
