from __future__ import annotations

import pytest

from training.rlhf import text_metrics


def test_distinct_counts_different_ngrams_over_all_texts() -> None:
    # "a b a" and "a b": words a b a a b (2 of 5), pairs ab ba ab (2 of 3)
    assert text_metrics.distinct(["a b a", "A b"], 1) == pytest.approx(2 / 5)
    assert text_metrics.distinct(["a b a", "A b"], 2) == pytest.approx(2 / 3)


def test_distinct_of_nothing_is_zero() -> None:
    assert text_metrics.distinct(["", "one"], 2) == 0.0


def test_repetition_is_the_share_of_repeated_runs_of_three_words() -> None:
    assert text_metrics.repetition("we will ship it today") == 0.0
    # runs: abc bcd cda dab abc bcd -> 4 different of 6
    assert text_metrics.repetition("a b c d a b c d") == pytest.approx(1 - 4 / 6)


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [
        ("We will ship it today.", True, False),
        ("We will ship it", False, True),
        ("  ", True, True),
        ("no no no no no no no no", True, True),
        ("caf\ufffd", True, True),
    ],
)
def test_a_reply_is_broken_when_it_is_empty_cut_off_or_in_a_loop(
    text: str, finished: bool, expected: bool
) -> None:
    assert text_metrics.broken(text, finished=finished) is expected
