"""A hundred pairs in one go, with everything a person does in between, by keyboard and by touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Assignment, Flag
from tests.browser.labelling.screen import PHONE, Browse, MakePairs, opened, press, wait

pytestmark = pytest.mark.django_db(transaction=True)
Act = Callable[[str], None]
# What this person thinks of the pairs, about the completions and not the sides.
OPINIONS = [
    *(("a", 3), ("a", 2), ("a", 1), ("tie", 0)),
    *(("b", 1), ("b", 2), ("b", 3), ("both_bad", 0)),
]
SKIPPED = {25: ("t", "hard"), 65: ("i", "identical")}
FLAGGED = {15: ("x", "unsafe"), 55: ("p", "pii")}
UNDONE = 40
SHOWN = """(before) => {
    const { token } = document.getElementById("screen").dataset;
    if (token === before || document.querySelector("#bar[data-busy]")) return null;
    const [text, left] = [".prompt .prose", ".reply .prose"].map(
        (part) => document.querySelector(part)?.textContent ?? "");
    return { token, number: text.match(/[0-9]+/)?.[0] ?? "", left };
}"""
# The middle of the button, swiped into sight where its row is long, and covered by nothing.
TARGET = """(key) => {
    const carrying = document.querySelectorAll(`[data-key~="${key}"], [data-letter="${key}"]`);
    const shown = [...carrying].find((button) => button.checkVisibility());
    shown.scrollIntoView({ block: "nearest", inline: "nearest" });
    const { x, y, width, height } = shown.getBoundingClientRect();
    const target = { x: x + width / 2, y: y + height / 2 };
    const hit = document.elementFromPoint(target.x, target.y);
    if (!shown.contains(hit)) throw new Error(`${key} is covered`);
    return target;
}"""
COUNT_MODALS = """
    window.modals = 0;
    new MutationObserver(() => { window.modals += document.querySelectorAll(":modal").length; })
        .observe(document, { subtree: true, attributes: true, attributeFilter: ["open"] });
"""


class Shown(NamedTuple):
    """The pair on the screen, as far as the person needs it."""

    token: str
    number: int
    left: str


def shown(page: Page, after: str = "") -> Shown:
    """The pair before the person's eyes, once it is another than the one with this token."""
    found = page.wait_for_function(SHOWN, arg=after).json_value()
    left = "a" if "on its way" in found["left"] else "b"
    return Shown(found["token"], int(found["number"] or -1), left)


def opinion(number: int) -> tuple[str, int]:
    return OPINIONS[number * 3 % 8]


def key(pair: Shown) -> str:
    """The key that says what the person thinks of this pair, on seven points."""
    choice, strength = opinion(pair.number)
    if choice not in ("a", "b"):
        return {"tie": "4", "both_bad": "8"}[choice]
    return str(4 - strength if choice == pair.left else 4 + strength)


def label_everything(page: Page, act: Act) -> int:
    """Judge until nothing is left; what is undone on the way is judged again. Counts the votes."""
    pair, judged = shown(page), 0
    while pair.number >= 0:
        number = pair.number
        if number % 20 == 7:
            look_closely(page, act)
        if number in FLAGGED:
            act("f")
            act(FLAGGED[number][0])
        if judged == UNDONE:
            pair = change_five_votes(page, act, pair)
            number = pair.number
        if number in SKIPPED:
            act("s")
            pair = shown(page, after=pair.token)
            act(SKIPPED[number][0])
            continue
        act(key(pair))
        judged += 1
        pair = shown(page, after=pair.token)
    return judged


def look_closely(page: Page, act: Act) -> None:
    for switch, view in (("d", "diff"), ("r", "raw")):
        act(switch)
        expect(page.locator(f"[data-view-switch={view}]")).to_have_attribute("aria-pressed", "true")
    act("r")
    expect(page.locator("[data-view-switch=raw]")).to_have_attribute("aria-pressed", "false")


def change_five_votes(page: Page, act: Act, pair: Shown) -> Shown:
    """Say the same of five pairs, thoughtlessly, and take all of it back."""
    seen = []
    for _ in range(5):
        seen.append(pair.number)
        act("1")
        pair = shown(page, after=pair.token)
    for number in reversed(seen):
        act("u")
        pair = shown(page, after=pair.token)
        assert pair.number == number
    return pair


def assert_stored(ann: User, judged: int) -> None:
    """The database holds what the person thinks, of each pair once."""
    rows = Assignment.objects.filter(annotator=ann).select_related("pair")
    stored = {_number(row): (row.choice, row.strength) for row in rows if row.state == "voted"}
    assert stored == {n: opinion(n) for n in range(102) if n not in SKIPPED}
    assert judged == 100
    skipped = {_number(row): row.skip_reason for row in rows if row.state == "skipped"}
    assert skipped == {number: reason for number, (_, reason) in SKIPPED.items()}
    flags = {_number(flag): flag.kind for flag in Flag.objects.select_related("pair")}
    assert flags == {number: kind for number, (_, kind) in FLAGGED.items()}
    counted = [row.pair.n_a + row.pair.n_b + row.pair.n_tie for row in rows]
    assert len(rows) == 102 and sum(counted) == 100 and max(counted) == 1


def _number(row: Assignment | Flag) -> int:
    return int(row.pair.key.removeprefix("pair-"))


def test_a_hundred_pairs_by_keyboard_alone(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(102)
    page = browse(ann)
    page.add_init_script(COUNT_MODALS)
    judged = label_everything(opened(page), lambda key: press(page, key))
    expect(page.locator("#state")).to_contain_text("✓")
    assert_stored(ann, judged)
    assert page.evaluate("window.modals") == 0
    assert set(Assignment.objects.standing().values_list("input", flat=True)) == {"key"}


def test_a_hundred_pairs_by_touch_on_a_phone(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(102)
    page = opened(browse(ann, **PHONE))

    def tap(key: str) -> None:
        wait(page)
        page.touchscreen.tap(**page.evaluate(TARGET, key))

    judged = label_everything(page, tap)
    expect(page.locator("#state")).to_contain_text("✓")
    assert_stored(ann, judged)
    assert set(Assignment.objects.standing().values_list("input", flat=True)) == {"touch"}
