from __future__ import annotations

import time

import pytest

from training.rlhf.metrics.texts.broken_replies import FALLBACK, fault, filtered

CODE = "```python\nfor i in range(10):\n    print(x[i] + y[i], end='')\n```"
TABLE = "| item | price |\n|------|-------|\n| tea  | 3.20  |\n| milk | 1.10  |"
GOOD = (
    "We will ship it today.",
    "OK :-)",
    "42%",
    r"/\A[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z]{2,}\z/",
    CODE,
    TABLE,
    "x = (-b ± √(b² − 4ac)) / 2a, so x₁ = 3 and x₂ = −1.",
    "Siehe Donaudampfschifffahrtsgesellschaftskapitän und https://example.org/a-very-long-path/to/it",
    "お荷物は本日発送いたしました。ご不便をおかけして申し訳ございません。",
    "आपका पार्सल आज भेज दिया गया है, धन्यवाद।",
    "👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍👍",
    "The HTTP API sends HTML, XML, JSON, CSS and PDF files via TLS.",
    "Ha ha ha, very good. " + "-" * 60,
)


@pytest.mark.parametrize("text", GOOD)
def test_a_reply_that_can_be_read_passes_unchanged(text: str) -> None:
    assert filtered(text).text == text
    assert filtered(text).fault == ""


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [
        ("", True, "empty"),
        (" \n\t", False, "empty"),
        ("We will ship it", False, "truncated"),
        ("no no no no no no no no", True, "looping"),
        ("I am sorry. " * 9, False, "looping"),
        ("ha" * 40, True, "looping"),
        ("申し訳ございません。" * 8, True, "looping"),
        ("caf\ufffd", True, "gibberish"),
        ("ab\x00cd", True, "gibberish"),
        ("]]]} }{ ;;# $%^ &*( )!! ~~ ||a <:/> [;=+] @# \\\\ //", True, "gibberish"),
        ("qwrtzp lkjhgf mnbvcx the xcvbnm plmkng zxcvb", True, "gibberish"),
        ("k" + "aeiourstln" * 3 + "o" * 9 + "bcdfghjkm" * 4, True, "gibberish"),
    ],
)
def test_a_reply_is_named_by_what_is_wrong_with_it(
    text: str, finished: bool, expected: str
) -> None:
    assert fault(text, finished=finished) == expected
    assert filtered(text, finished=finished).text == FALLBACK


def test_what_is_allowed_is_shown_and_still_named() -> None:
    cut = filtered("We will ship", finished=False, allowed=("truncated",))
    assert (cut.text, cut.fault) == ("We will ship", "truncated")
    assert filtered("", fallback="Nothing came.").text == "Nothing came."


def test_the_time_grows_with_the_length_and_not_with_its_square() -> None:
    def seconds(text: str) -> float:
        start = time.process_time()
        fault(text, finished=True)
        return time.process_time() - start

    text = "".join(f"{i * 7919 % 10007:04d}a" for i in range(4000))  # 20,000 characters, no loop
    assert seconds(text * 4) < 12 * max(seconds(text), 0.005)
