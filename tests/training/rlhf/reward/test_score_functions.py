from __future__ import annotations

import statistics
from typing import Any

import pytest

from training.rlhf.config import ConfigError
from training.rlhf.reward import score_functions

CHATS: list[Any] = [[{"role": "user", "content": "hello"}]] * 3
REPLIES = ["a", "bb", "ccc"]


def length(chats: list[Any], replies: list[str]) -> list[float]:
    return [float(len(reply)) for reply in replies]


def square(chats: list[Any], replies: list[str]) -> list[float]:
    return [float(len(reply)) ** 2 for reply in replies]


def test_a_conservative_score_is_the_mean_minus_the_disagreement():
    found = score_functions.conservative([length, square], penalty=0.5)(CHATS, REPLIES)
    for n, value in zip((1, 2, 3), found, strict=True):
        expected = statistics.mean((n, n * n)) - 0.5 * statistics.pstdev((n, n * n))
        assert value == pytest.approx(expected)


def test_one_score_stays_as_it_is():
    assert score_functions.conservative([length], penalty=3.0)(CHATS, REPLIES) == length(
        CHATS, REPLIES
    )


def test_a_function_is_found_by_its_path():
    assert score_functions.from_path(f"{__name__}:square")(CHATS, REPLIES) == [1.0, 4.0, 9.0]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.at_all:score", "No module named"),
        (f"{__name__}:missing", "has no attribute"),
        ("", "Empty module name"),
        (f"{__name__}:CHATS", "is no function"),
    ],
)
def test_a_path_without_a_function_is_a_clear_error(path, reason):
    with pytest.raises(ConfigError, match=reason):
        score_functions.from_path(path)


def test_a_function_is_known_by_the_file_it_was_read_from():
    assert score_functions.source_digest(length) == score_functions.source_digest(square) != ""
    assert score_functions.source_digest(length) != score_functions.source_digest(
        score_functions.conservative([], penalty=0)
    )
    assert score_functions.source_digest(max) == ""
