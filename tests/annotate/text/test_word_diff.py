"""What differs between two replies, word by word."""

from __future__ import annotations

import re
from html import unescape
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.text import word_diff as diff
from annotate.text.markdown import capped, reveal
from annotate.text.word_diff import MAX_STEPS, Matcher, Text, word_diff
from tests.annotate.api.hostile_json import PAYLOADS

TEXTS = st.text(st.sampled_from("ab é\n\t<&\"'>.語ا\u0301\u202e👩🏽"), max_size=60)
MARKS = re.compile("</?(?:del|ins|b|i)>")


def without_marks(html: str) -> str:
    bare = MARKS.sub("", html)
    assert "<" not in bare
    return unescape(bare)


def changed(html: str) -> list[str]:
    return re.findall("<(?:del|ins)>(.*?)</(?:del|ins)>", html, re.DOTALL)


@given(TEXTS, TEXTS)
def test_without_its_marks_each_side_is_its_source(left: str, right: str) -> None:
    html = word_diff(left, right)
    assert [without_marks(side) for side in html] == [reveal(left), reveal(right)]


@given(TEXTS, TEXTS)
def test_what_is_not_marked_is_the_same_on_both_sides(left: str, right: str) -> None:
    rest = [
        re.sub("<(del|ins)>.*?</\\1>", "", side, flags=re.DOTALL) for side in word_diff(left, right)
    ]
    # The space behind a word that only one side has stands there unmarked.
    assert "".join(rest[0].split()) == "".join(rest[1].split())


@given(TEXTS, TEXTS)
def test_who_sees_both_in_the_other_order_has_the_same_marks(left: str, right: str) -> None:
    one, other = word_diff(left, right)
    there, here = word_diff(right, left)
    assert (changed(one), changed(other)) == (changed(here), changed(there))
    assert "<ins>" not in one + there and "<del>" not in other + here


@given(TEXTS)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    assert [changed(side) for side in word_diff(text, text)] == [[], []]


@pytest.mark.parametrize(
    ("left", "right", "only_left", "only_right"),
    [
        ("I have a cat.", "I have a dog.", ["cat"], ["dog"]),
        ("a big red fox ran", "a big fox ran", ["red"], []),
        ("one two", "one  two", ["<i> </i>"], ["<i>  </i>"]),
        ("one two", "one\ntwo", ["<i> </i>"], ["<b></b>\n"]),
        ("今日は雨です", "今日は雪です", ["雨"], ["雪"]),
        ("قال الولد", "قال البنت", ["الولد"], ["البنت"]),
        ("ka\u0301 x", "ka x", ["ka\u0301"], ["ka"]),
        ("", "new", [], ["new"]),
    ],
    ids=["word", "missing", "space", "line", "han", "arabic", "accent", "empty"],
)
def test_only_what_differs_is_marked(
    left: str, right: str, only_left: list[str], only_right: list[str]
) -> None:
    assert [changed(side) for side in word_diff(left, right)] == [only_left, only_right]


def test_a_changed_sentence_is_marked_as_one_in_spite_of_a_word_that_stays() -> None:
    left, right = word_diff(
        "Restart the machine and try again", "Please reboot the old device, then try again"
    )
    assert len(changed(left)) == len(changed(right)) == 1


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_hostile_text_stays_text(payload: str) -> None:
    for side in word_diff(f"x {payload} y", f"x z{payload}"):
        without_marks(side)


def long_texts() -> dict[str, tuple[str, str]]:
    random = Random(3)
    words = [f"w{int(5000 ** random.random())}" for _ in range(20_000)]  # as in Zipf's law
    edited = [f"v{number}" if number % 10 == 0 else word for number, word in enumerate(words)]
    even = [[str(random.randrange(100)) for _ in range(20_000)] for _ in "ab"]
    return {
        "edited": (" ".join(words), " ".join(edited)),
        "even": (" ".join(even[0]), " ".join(even[1])),
        "swapped": ("a b " * 20_000, "b a " * 20_000),
        "chained": (
            "".join(f"a{i} " for i in range(12_000)),
            "".join(f"a{i if i % 2 else -i} " for i in range(12_000)),
        ),
        "brackets": ("([" * 40_000, "])" * 40_000),
        "blank": ("\n" * 90_000, " " * 90_000),
        "accents": ("a" + "\u0301" * 40_000, "b" + "\u0301" * 40_000),
    }


@pytest.mark.parametrize("name", long_texts())
def test_the_search_ends_after_a_fixed_number_of_steps(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = long_texts()[name]
    matchers: list[Counting] = []

    class Counting(Matcher):
        def __init__(self, left: list[str], right: list[str]) -> None:
            super().__init__(left, right)
            self.searches = 0
            matchers.append(self)

        def find_longest_match(self, *bounds: int) -> object:  # type: ignore[override]
            before = self.steps
            found = super().find_longest_match(*bounds)
            self.searches += before - self.steps if self.steps >= 0 else 0
            return found

    monkeypatch.setattr(diff, "Matcher", Counting)
    html = word_diff(left, right)
    assert [without_marks(side) for side in html] == [capped(left)[0], capped(right)[0]]
    assert matchers[0].searches <= MAX_STEPS
    assert max(map(len, html)) < 1_000_000


def test_most_of_a_long_text_that_was_edited_is_recognised() -> None:
    left, _ = word_diff(*long_texts()["edited"])
    assert len("".join(changed(left))) < 0.3 * len(left)


def test_words_and_spaces_make_up_the_whole_text() -> None:
    assert Text.of(" a, b\n\nc") == Text(["", "a", ",", "b", "c"], [" ", "", " ", "\n\n", ""])
