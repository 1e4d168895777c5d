from __future__ import annotations

import pytest

from training.figures import number_format

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (134, "2 min 14 s"),
        (3599.7, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (None, DASH),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert number_format.duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.7345, "73.5 %"), (0, "0.0 %"), (1, "100.0 %"), (None, DASH), ("x", DASH)]
)
def test_a_share_is_written_as_per_cent(share: object, text: str) -> None:
    assert number_format.percent(share).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("key", "text"),
    [("win_rate_low", "Win rate low"), ("kl", "KL"), ("eos_rate", "EOS rate"), ("loss", "Loss")],
)
def test_a_metric_is_written_in_words(key: str, text: str) -> None:
    assert number_format.words(key) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.73456, "0.735"),
        (3.0, "3"),
        (15.724, "15.7"),
        (0.04, "0.040"),
        (0.00123, "0.00123"),
        (1234.56, "1,234.6"),
    ],
)
def test_a_figure_has_the_digits_that_matter(value: float, text: str) -> None:
    assert number_format.figure(value) == text


def test_a_figure_that_is_missing_is_a_dash() -> None:
    assert number_format.figure(None) == "\N{EN DASH}"
