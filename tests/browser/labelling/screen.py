"""What a person does at the labelling screen, for the tests that do it."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from annotate.models import Assignment, Pair
from tests.conftest import PASSWORD

Browse = Callable[..., Page]
MakePairs = Callable[..., list[Pair]]
LABEL = "/projects/desk/label/"
QUIET_MS = 400
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def opened(page: Page) -> Page:
    """The labelling screen, the next pair fetched."""
    page.goto(LABEL)
    page.wait_for_load_state("networkidle")
    return page


def wait(page: Page, ms: int = QUIET_MS) -> None:
    """Time passes for the page; long enough, unless said, for a key or a click to count."""
    page.clock.fast_forward(ms)


def stop_the_clock(page: Page) -> None:
    """Nothing but `wait` makes time pass, however slow the machine."""
    # Ahead by more than the way to the page takes: its clock cannot be set back.
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 30)


def press(page: Page, key: str) -> None:
    """A key pressed by a person: on a page that has loaded (the address of one that follows on a
    sign-in is there before its scripts), and not within the instant in which the screen changed.
    """
    page.wait_for_load_state()
    wait(page)
    page.keyboard.press(key)


def vote(page: Page, key: str) -> None:
    before = page.locator("#screen").get_attribute("data-token")
    press(page, key)
    expect(page.locator("#screen")).not_to_have_attribute("data-token", before or "")
    # The next pair comes at once; what was pressed is saved behind it.
    expect(page.locator("#state")).not_to_have_text(re.compile("^(Saving|Taking back|$)"))


def sign_in(page: Page, name: str = "ann") -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def prompt(page: Page) -> str:
    return page.locator(".prompt .prose").last.inner_text()


def held(page: Page, pattern: str) -> list[Route]:
    """Requests are caught here until the test lets them go."""
    routes: list[Route] = []
    page.route(pattern, lambda route: routes.append(route))
    return routes


def let_go(page: Page, pattern: str, routes: list[Route]) -> None:
    for route in routes:
        route.continue_()
    page.unroute(pattern)


def votes_of(user: User) -> list[tuple[str, int]]:
    """What the person's votes say about the left and right reply, in order."""
    rows = Assignment.objects.filter(annotator=user, state="voted").order_by("acted_at")
    return [(_side(row), row.strength) for row in rows]


def _side(row: Assignment) -> str:
    if row.choice in ("a", "b"):
        return "left" if row.choice == row.left else "right"
    return row.choice
