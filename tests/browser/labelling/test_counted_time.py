"""Time that counts as active, as the page measures it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from annotate.models import Assignment, Completion
from annotate.people.active_time import ReadingPace, count_words
from tests.browser.labelling.screen import (
    LABEL,
    Browse,
    MakePairs,
    opened,
    press,
    stop_the_clock,
    wait,
)

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = 60_000
RULE = """async ([texts, paces]) => {
    const { countWords, milliseconds } = await import("/static/js/reading-time.js");
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
