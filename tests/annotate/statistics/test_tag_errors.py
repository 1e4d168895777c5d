"""Tags on which a model is wrong: the test, its correction, and how often it cries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from annotate.statistics import tag_errors
from annotate.statistics.tag_errors import Observed


def test_the_test_is_fishers() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        total = int(rng.integers(2, 60))
        all_right, size = int(rng.integers(0, total + 1)), int(rng.integers(1, total))
        least = max(0, size - (total - all_right))
        right = int(rng.integers(least, min(size, all_right) + 1))
        table = [[right, size - right], [all_right - right, total - all_right - (size - right)]]
        told = tag_errors.fisher(right, size, all_right, total)
        assert told == pytest.approx(fisher_exact(table, alternative="less")[1], abs=1e-9)
        assert told >= tag_errors.least_p(size, all_right, total) - 1e-12


def test_the_levels_of_all_looks_add_up_to_one_in_twenty() -> None:
    assert sum(tag_errors.level(look) for look in range(60)) == pytest.approx(0.05)


def pairs(n: int, seed: int, *, inside: float) -> list[Observed]:
    """Pairs of which three in ten have the tag `wrong`, and others further tags; the model is
    right .8 of the time elsewhere."""
    rng = np.random.default_rng(seed)
    shares = {"wrong": 0.3, "common": 0.4, "usual": 0.2, "some": 0.1, "rare": 0.05}
    made = []
    for _ in range(n):
        tags = [tag for tag, share in shares.items() if rng.random() < share]
        made.append((tags, bool(rng.random() < (inside if "wrong" in tags else 0.8))))
    return made


def test_a_tag_with_three_in_ten_right_is_flagged_within_a_hundred_labels() -> None:
    flagged = [tag_errors.wrong_tags(pairs(100, seed, inside=0.3)) for seed in range(60)]
    assert sum("wrong" in tags for tags in flagged) >= 0.8 * 60
    assert sum(bool(set(tags) - {"wrong"}) for tags in flagged) <= 3


def test_without_such_a_tag_at_most_one_in_twenty_cries_however_long_one_looks() -> None:
    cries = [tag_errors.wrong_tags(pairs(640, seed, inside=0.8)) for seed in range(100)]
    assert sum(map(bool, cries)) <= 5


def test_nothing_is_said_before_the_first_look_nor_of_a_tag_that_all_pairs_have() -> None:
    wrong = [(["all"], False)] * 15 + [(["all", "other"], False)] * 4
    assert tag_errors.wrong_tags(wrong) == []
    assert tag_errors.wrong_tags([(["all"], place % 2 == 0) for place in range(80)]) == []
    assert [tag_errors.next_look(n) for n in (0, 19, 20, 40, 100)] == [20, 20, 40, 80, 160]


def test_what_was_flagged_stays_flagged_as_more_pairs_come() -> None:
    seen = pairs(80, 1, inside=0.1)
    assert tag_errors.wrong_tags(seen) == ["wrong"]
    assert tag_errors.wrong_tags(seen + pairs(400, 2, inside=0.8)) == ["wrong"]
