"""The labelling screen as a person uses it."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from annotate import queue
from annotate.models import Assignment, Completion, Membership, Message, Project
from annotate.votes import scales
from tests.browser.labelling.screen import (
    LABEL,
    PHONE,
    Browse,
    MakePairs,
    held,
    let_go,
    opened,
    press,
    stop_the_clock,
    vote,
    votes_of,
    wait,
)
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db(transaction=True)
BOXES = """() => [...document.querySelectorAll(".bar button")].map((button) => {
    const { width, height, top, bottom } = button.getBoundingClientRect();
    const text = button.textContent.trim();
    return { text, width, height, top, bottom, clipped: button.scrollWidth > button.clientWidth };
})"""
SHIFTS = """window.shifted = 0;
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });"""


def test_a_person_signs_in_and_votes_with_keys_only(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(11)
    page = browse()
    page.goto("/")
    page.keyboard.press("Tab")
    page.get_by_label("Username").focus()
    page.keyboard.type("ann")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(LABEL))
    for key in ("1", "2", "3", "4", "5", "6", "7", "8", "ArrowLeft", "ArrowDown", "ArrowRight"):
        vote(page, key)
    assert votes_of(ann) == [
        *(("left", 3), ("left", 2), ("left", 1), ("tie", 0)),
        *(("right", 1), ("right", 2), ("right", 3), ("both_bad", 0)),
        *(("left", 2), ("tie", 0), ("right", 2)),
    ]
    assert all(row.active_ms for row in Assignment.objects.filter(annotator=ann, state="voted"))


def test_the_answer_to_a_vote_is_the_next_pair(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    with page.expect_response("**/vote/") as answer:
        vote(page, "2")
    expect(page.locator("#state")).to_contain_text("A better")
    expect(page.locator("#prompt-title")).to_be_focused()
    expect(page.locator("#announcer")).to_contain_text("Next pair")
    assert len(requests) == 1
    assert len(answer.value.body()) < 10_000


def test_a_vote_is_taken_back_with_one_key(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    first = page.locator(".prompt .prose").inner_text()
    vote(page, "1")
    expect(page.locator(".prompt .prose")).not_to_have_text(first)
    vote(page, "u")
    expect(page.locator(".prompt .prose")).to_have_text(first)
    expect(page.locator("#state")).to_have_text("Taken back")
    assert votes_of(ann) == []
    vote(page, "7")
    assert votes_of(ann) == [("right", 3)]


def test_a_skipped_pair_does_not_come_back(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    page = opened(browse(ann))
    vote(page, "s")
    vote(page, "s")
    expect(page.locator("#empty-title")).to_be_visible()
    assert Assignment.objects.filter(annotator=ann, state="skipped").count() == 2


def test_keys_and_guidelines_open_and_close_with_their_keys(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    page = opened(browse(ann))
    press(page, "?")
    expect(page.locator("#help")).to_be_visible()
    press(page, "1")
    press(page, "?")
    expect(page.locator("#help")).not_to_be_visible()
    press(page, "g")
    expect(page.locator("#guidelines-text em")).to_have_text("kind")
    press(page, "g")
    expect(page.locator("#guidelines")).not_to_be_visible()
    assert votes_of(ann) == []


def test_single_keys_can_be_switched_off(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(1)
    page = opened(browse(ann))
    press(page, "?")
    page.get_by_label("Vote with single keys").uncheck()
    page.keyboard.press("Escape")
    press(page, "1")
    assert votes_of(ann) == []
    page.get_by_role("button", name="A much better").click()
    expect(page.locator("#empty-title")).to_be_visible()
    assert votes_of(ann) == [("left", 3)]


def test_work_goes_on_by_itself_when_new_pairs_arrive(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    page = opened(browse(ann))
    vote(page, "4")
    expect(page.locator("#empty-title")).to_have_text("Nothing to compare just now")
    make_pairs(1)
    expect(page.locator(".reply")).to_have_count(2, timeout=15_000)
    expect(page.locator("#announcer")).to_contain_text("A new pair has arrived")
    vote(page, "4")
    assert len(votes_of(ann)) == 2


def test_a_double_click_votes_once(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    routes = held(page, "**/vote/")
    stop_the_clock(page)
    page.get_by_role("button", name="A much better").dblclick()
    let_go(page, "**/vote/", routes)
    expect(page.locator("#state")).to_contain_text("A much better")
    assert votes_of(ann) == [("left", 3)]


def test_the_second_half_of_a_double_click_does_not_vote_on_the_next_pair(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    first = page.locator("#screen").get_attribute("data-token")
    stop_the_clock(page)
    page.get_by_role("button", name="A much better").click()
    expect(page.locator("#screen")).not_to_have_attribute("data-token", first or "")
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#state")).to_contain_text("✓")
    assert votes_of(ann) == [("left", 3)]
    wait(page)
    page.mouse.down()
    page.mouse.up()
    expect(page.locator(".tally")).to_contain_text("2 of your 50 today")
    assert len(votes_of(ann)) == 2


def test_a_held_key_votes_once(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(5)
    page = opened(browse(ann))
    for _ in range(4):
        wait(page)
        # Without an up in between, the browser marks these as repeats.
        page.keyboard.down("1")
    page.keyboard.up("1")
    vote(page, "7")
    assert votes_of(ann) == [("left", 3), ("right", 3)]


def test_saved_is_said_of_all_that_was_pressed(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(5)
    page = opened(browse(ann))
    routes = held(page, "**/vote/")

    def let_one_go() -> None:
        while not routes:
            page.wait_for_timeout(20)
        routes.pop(0).continue_()

    press(page, "1")
    press(page, "7")
    let_one_go()
    # The second is sent once the first is saved and counted.
    while not routes:
        page.wait_for_timeout(20)
    expect(page.locator(".tally b").first).to_have_text("1")
    expect(page.locator("#state")).to_have_text("Saving …")
    let_one_go()
    expect(page.locator("#state")).to_contain_text("B much better")
    assert votes_of(ann) == [("left", 3), ("right", 3)]


def test_a_key_meant_for_the_pair_before_is_ignored(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(5)
    page = opened(browse(ann))
    page.evaluate(
        """() => ["htmx:afterSettle", "pairloop:arrived"].forEach((name) =>
             document.addEventListener(name, () => document.body.dispatchEvent(
               new KeyboardEvent("keydown", {key: "7", code: "Digit7", bubbles: true}))))"""
    )
    vote(page, "1")
    assert votes_of(ann) == [("left", 3)]


def test_a_vote_that_the_server_does_not_answer_is_sent_again(
    browse: Browse, ann: User, make_pairs: MakePairs, console: list[str]
) -> None:
    make_pairs(2)
    page = opened(browse(ann))
    page.route("**/vote/", lambda route: route.abort())
    press(page, "6")
    expect(page.locator("#state")).to_contain_text("Not saved yet: B better")
    press(page, "1")
    assert votes_of(ann) == []
    page.unroute("**/vote/")
    wait(page, 15_000)
    expect(page.locator("#empty-title")).to_be_visible()
    expect(page.locator("#state")).to_contain_text("✓")
    assert votes_of(ann) == [("right", 2), ("left", 3)]
    console.clear()


def test_nothing_moves_from_pair_to_pair(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    parts = (".prompt", ".reply >> nth=0", ".reply >> nth=1", ".bar", ".scale")
    before = [page.locator(part).bounding_box() for part in parts]
    vote(page, "2")
    assert [page.locator(part).bounding_box() for part in parts] == before


def test_it_works_without_javascript(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(2)
    page = browse(ann, java_script_enabled=False)
    page.goto(LABEL)
    first = page.locator(".prompt .prose").inner_text()
    page.get_by_role("button", name="B much better").click()
    expect(page.locator("#state")).to_contain_text("B much better")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".prompt .prose")).to_have_text(first)
    page.get_by_role("button", name="Skip").click()
    page.get_by_role("link", name="Guidelines").click()
    expect(page.get_by_role("heading", name="Guidelines")).to_be_visible()
    page.get_by_role("link", name="Back to the pair").click()
    page.get_by_role("button", name="Both bad").click()
    expect(page.locator("#empty-title")).to_be_visible()
    assert votes_of(ann) == [("both_bad", 0)]


# The lightest page and the heaviest; the two others lie between.
@pytest.mark.parametrize(
    ("name", "criteria"), [("ann", []), ("root", ["Helpful", "Correct", "Polite"])]
)
def test_the_first_page_weighs_less_than_95_kb(
    browse: Browse,
    ann: User,
    root: User,
    make_pairs: MakePairs,
    client_for: Callable[[User], Client],
    name: str,
    criteria: list[str],
) -> None:
    Project.objects.update(criteria=criteria)
    make_pairs(2)
    for number, completion in enumerate(Completion.objects.all()):
        completion.text = f"Reply {number}. " + "Your order is on its way, as we said. " * 18
        completion.save()
    user = {"ann": ann, "root": root}[name]
    page = browse(user)
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.on("load", lambda _: loaded.append("load"))
    opened(page)
    # The next pair, once the page has settled.
    (ahead,) = (url for url in loaded if "?after=" in url)
    assert loaded.index(ahead) > loaded.index("load")
    first = {urlsplit(url).path for url in loaded if url not in (ahead, "load")}
    assert "/static/js/sending-votes.js" in first
    assert ("/static/js/criteria.js" in first) is bool(criteria)
    # The server of tests compresses nothing; the product's own middleware does.
    client = client_for(user)
    answers = [client.get(path, headers={"Accept-Encoding": "gzip"}) for path in first]
    weight = sum(
        len(b"".join(answer) if answer.streaming else answer.content) for answer in answers
    )
    assert 30_000 < weight < 95_000


@pytest.mark.parametrize("scale", list(scales.SCALES))
def test_every_button_of_the_bar_is_in_reach_of_a_thumb(
    browse: Browse, ann: User, make_pairs: MakePairs, project: Project, scale: str
) -> None:
    make_pairs(1)
    project.scale = scale
    project.save()
    page = opened(browse(ann, **PHONE))
    # The last is a desktop's window at 200 %.
    for width, height in ((320, 640), (360, 740), (640, 400)):
        page.set_viewport_size({"width": width, "height": height})
        boxes = page.evaluate(BOXES)
        assert len(boxes) == len(scales.all_points(scale)) + 2
        for box in boxes:
            assert box["width"] >= 44 and box["height"] >= 44, box
            assert box["bottom"] <= height and box["top"] > height / 2 - 20, box
            assert not box["clipped"], box
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_vote_is_cast_by_touch(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(1)
    page = opened(browse(ann, **PHONE))
    page.get_by_role("button", name="B better").tap()
    expect(page.locator("#empty-title")).to_be_visible()
    assert votes_of(ann) == [("right", 2)]


def test_the_tools_keep_one_row_beside_the_counts_of_somebody_with_votes(
    browse: Browse, ann: User, project: Project, make_pairs: MakePairs
) -> None:
    project.train_on_simulated = True
    project.save()
    make_pairs(12)
    for _ in range(11):
        lease = queue.next_pair(project, ann)
        assert lease is not None
        queue.vote(ann, lease.token, choice="a")
    Assignment.objects.update(active_ms=60_000)
    Membership.objects.filter(user=ann).update(pace_ms=60_000)
    page = browse(ann)
    page.add_init_script(SHIFTS)
    for width in (1280, 1024, 905):
        page.set_viewport_size({"width": width, "height": 720})
        opened(page)
        expect(page.locator(".tally")).to_contain_text("11 of your 50 today, about 39 minutes")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".screen-head").evaluate("(head) => head.offsetHeight") <= 44
        assert page.evaluate("window.shifted") < 0.01
    Message.objects.create(member=ann.memberships.get(), text="Well done.")
    page.set_viewport_size({"width": 390, "height": 740})
    opened(page)
    expect(page.get_by_role("link", name="1 message")).to_be_visible()
    whole = "(name) => name.scrollWidth <= name.clientWidth"
    assert page.locator(".header-project span").evaluate(whole)
