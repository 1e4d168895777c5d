"""A pair stays with whoever looks at it, goes to others when nobody does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect

from annotate import queue
from annotate.models import Assignment, Completion
from annotate.people.active_time import ReadingPace, count_words
from tests.browser.labelling.screen import (
    LABEL,
    Browse,
    MakePairs,
    opened,
    press,
    prompt,
    stop_the_clock,
    vote,
    wait,
)

pytestmark = pytest.mark.django_db(transaction=True)
# A lease of the project lasts ten minutes and is renewed three times in it.
BEAT_MS = 201_000
MINUTE = 60_000
RULE = """async ([texts, paces]) => {
    const { countWords, milliseconds } = await import("/static/js/reading-speed.js");
    const words = texts.map(countWords);
    const times = (pace) => [0, ...words, 777].map((count) => milliseconds(count, pace));
    return [words, paces.map(times)];
}"""
TEXTS = [
    "",
    " one\u00a0two\u2003three\u3000four\ttabs\r\nlines\x0b\x0c",
    "nor these: \x1c\x85\ufeff\u200b",
    "日本語の文章です。ひらがな",
    "ภาษาไทย ไม่เว้นวรรค",
    "Arabic كلمة and emoji 👩‍👩‍👧 😀😀",
    "word " * 250,
]


def leases(user: User) -> list[Assignment]:
    """The person's pairs: the one shown, and the one fetched ahead."""
    found = Assignment.objects.for_display().leased().filter(annotator=user)
    return list(found.order_by("leased_at", "pk"))


@contextmanager
def beat(page: Page, *held: Assignment) -> Iterator[None]:
    """Within, the page asks to keep these leases, and has its answers."""
    with ExitStack() as answers:
        for lease in held:
            answers.enter_context(page.expect_response(f"**/{lease.token}/renew/"))
        yield


def hide(page: Page, *, hidden: bool) -> None:
    """The person goes to another tab, or comes back from it."""
    page.evaluate(
        """(state) => {
            const property = { value: state, configurable: true };
            Object.defineProperty(document, "visibilityState", property);
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        "hidden" if hidden else "visible",
    )


def gone_to_others(lease: Assignment, *others: User) -> None:
    """The lease ended and its pair filled."""
    Assignment.objects.filter(pk=lease.pk).update(expires_at=timezone.now() - timedelta(hours=1))
    assert queue.release_expired() == 1
    for other in others:
        while lease.pair_id not in {taken.pair_id for taken in leases(other)}:
            last = leases(other)[-1:]
            assert queue.next_pair(lease.pair.project, other, after=last[0].token if last else None)


def test_the_pairs_of_somebody_who_reads_stay_theirs(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    shown, ahead = leases(ann)
    Assignment.objects.update(expires_at=timezone.now())
    with beat(page, shown, ahead):
        wait(page, BEAT_MS)
    soon = timezone.now() + timedelta(minutes=9)
    assert all(lease.expires_at and lease.expires_at > soon for lease in leases(ann))


def test_nobody_at_the_page_holds_a_pair(browse: Browse, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    held = leases(ann)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    hide(page, hidden=True)
    wait(page, BEAT_MS)
    wait(page, BEAT_MS)
    assert asked == []
    with beat(page, *held):
        hide(page, hidden=False)
    # Nor does somebody who left the page open and went away.
    for _ in range(4):
        wait(page, BEAT_MS)
    asked.clear()
    wait(page, BEAT_MS)
    assert asked == []
    with beat(page, *held):
        page.mouse.move(200, 200)


def test_a_pair_that_went_to_others_gives_way_to_another_one(
    browse: Browse,
    ann: User,
    ben: User,
    cleo: User,
    make_pairs: MakePairs,
    console: list[str],
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    shown, ahead = leases(ann)
    seen = prompt(page)
    gone_to_others(shown, ben, cleo)
    with beat(page, shown, ahead):
        wait(page, BEAT_MS)
    expect(page.locator("#state")).to_contain_text("no longer yours")
    expect(page.locator("#announcer")).to_contain_text("no longer yours")
    assert prompt(page) != seen
    vote(page, "1")
    vote(page, "1")
    expect(page.locator("#empty-title")).to_be_visible()
    judged = Assignment.objects.filter(annotator=ann, state="voted")
    assert judged.count() == 2 and not judged.filter(pair=shown.pair_id).exists()
    console.clear()  # the browser notes the 410


def test_a_pair_fetched_ahead_that_went_to_others_is_not_shown(
    browse: Browse,
    ann: User,
    ben: User,
    cleo: User,
    make_pairs: MakePairs,
    console: list[str],
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    shown, ahead = leases(ann)
    gone_to_others(ahead, ben, cleo)
    with page.expect_response("**/label/?after=*"), beat(page, shown, ahead):
        wait(page, BEAT_MS)
    vote(page, "1")
    assert prompt(page) != ahead.pair.prompt.messages[-1]["content"]
    assert len(leases(ann)) == 1
    console.clear()  # the browser notes the 410


def test_a_vote_on_a_pair_that_went_to_others_is_kept_as_an_extra_one(
    browse: Browse, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    page = opened(browse(ann))
    shown = leases(ann)[0]
    gone_to_others(shown, ben, cleo)
    press(page, "1")
    expect(page.locator("#state")).to_contain_text("kept as an extra vote")
    assert Assignment.objects.get(annotator=ann, state="voted").surplus


def test_page_and_server_have_one_rule(browse: Browse, ann: User) -> None:
    page = browse(ann)
    page.goto(LABEL)
    paces = [ReadingPace(120, 60, 300), ReadingPace(97, 10, 3600), ReadingPace(400, 60, 61)]
    words, times = page.evaluate(RULE, [TEXTS, [list(pace) for pace in paces]])
    assert words == [count_words(text) for text in TEXTS]
    assert times == [[pace.milliseconds(n) for n in [0, *words, 777]] for pace in paces]


@pytest.mark.parametrize(("words", "seconds"), [(200, (100, 115)), (1, (60, 60))])
def test_a_pair_left_open_counts_the_time_its_text_takes(
    browse: Browse, ann: User, make_pairs: MakePairs, words: int, seconds: tuple[int, int]
) -> None:
    make_pairs(2)
    Completion.objects.filter(text__contains="on its way").update(text="word " * words)
    page = opened(browse(ann))
    stop_the_clock(page)
    page.mouse.move(300, 300)
    # Nothing for what a script pretends.
    page.evaluate("""setInterval(() => document.body.dispatchEvent(
        new KeyboardEvent("keydown", { key: "x", bubbles: true })), 5000)""")
    wait(page, 6 * MINUTE)
    # Nor more than the whole text takes for who comes back to it.
    page.mouse.move(310, 310)
    wait(page, 6 * MINUTE)
    press(page, "2")
    expect(page.locator("#state")).to_contain_text("✓")
    stored = Assignment.objects.get(state="voted")
    assert stored.active_ms is not None and stored.wall_ms is not None
    assert seconds[0] * 1000 <= stored.active_ms <= seconds[1] * 1000 < stored.wall_ms
