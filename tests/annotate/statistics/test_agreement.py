from __future__ import annotations

import itertools

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from annotate.statistics.agreement import (
    STATISTICS,
    agreement,
    cohen_kappa,
    statistics,
    sums,
)

count_rows = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=30)
vote_tables = st.lists(
    st.lists(st.sampled_from([None, 0, 1, 2]), min_size=4, max_size=4), min_size=2, max_size=20
)


def tally(table: list[list[int | None]]) -> list[list[int]]:
    """Votes per pair and annotator (None is no vote) -> counts per pair."""
    return [[sum(v == c for v in row) for c in range(3)] for row in table]


def close(a: float | None, b: float | None) -> bool:
    return (a is None and b is None) or (
        a is not None and b is not None and a == pytest.approx(b, abs=1e-9)
    )


def slow_raw(rows: list[list[int]]) -> float:
    """Share of agreeing ordered vote pairs within a pair, averaged over pairs."""
    shares = []
    for row in rows:
        votes = [c for c, n in enumerate(row) for _ in range(n)]
        if len(votes) >= 2:
            shares.append(np.mean([x == y for x, y in itertools.permutations(votes, 2)]))
    return float(np.mean(shares))


@given(count_rows)
@settings(max_examples=60, deadline=None)
def test_alpha_and_raw_agreement_equal_the_reference_library_and_a_slow_loop(rows):
    result = agreement(rows, resamples=2)
    used = [row for row in rows if sum(row) >= 2]
    if not used:
        assert result.values == dict.fromkeys(STATISTICS)
        return
    assert result.values["raw"] == pytest.approx(slow_raw(used))
    for key, level in (("alpha_nominal", "nominal"), ("alpha_ordinal", "ordinal")):
        if result.values[key] is None:
            assert sum(np.array(used).sum(axis=0) > 0) == 1
        else:
            oracle = krippendorff.alpha(value_counts=np.array(used), level_of_measurement=level)
            assert result.values[key] == pytest.approx(oracle, abs=1e-9)


def test_fleiss_kappa_equals_the_worked_example_of_the_1971_paper_in_three_classes():
    rows = [[3, 0, 0], [2, 1, 0], [0, 3, 0], [0, 1, 2], [1, 1, 1]]
    p = np.array([6, 6, 3]) / 15
    raw = (1 + 1 / 3 + 1 + 1 / 3 + 0) / 5
    expected = (raw - (p**2).sum()) / (1 - (p**2).sum())
    assert agreement(rows, resamples=2).values["fleiss_kappa"] == pytest.approx(expected)


@given(count_rows)
@settings(max_examples=40, deadline=None)
def test_swapping_a_and_b_changes_nothing(rows):
    swapped = [row[::-1] for row in rows]
    one, two = (agreement(r, resamples=2).values for r in (rows, swapped))
    assert all(close(one[key], two[key]) for key in STATISTICS)


@given(vote_tables, st.permutations(range(4)))
@settings(max_examples=40, deadline=None)
def test_permuting_the_annotators_changes_nothing(table, order):
    shuffled = [[row[i] for i in order] for row in table]
    assert agreement(tally(table), resamples=5) == agreement(tally(shuffled), resamples=5)


@given(count_rows, st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_counting_in_two_batches_gives_the_same_statistics(rows, cut):
    table = np.array(rows)
    split = sums(table[:cut]).sum(axis=0) + sums(table[cut:]).sum(axis=0)
    whole = agreement(rows, resamples=2).values
    for key, value in statistics(split).items():
        assert close(whole[key], float(value) if np.isfinite(value) else None)


@pytest.mark.parametrize("rows", [[], [[1, 0, 0]], [[0, 0, 1], [0, 1, 0]]])
def test_without_a_second_vote_everything_is_undefined_and_says_so(rows):
    result = agreement(rows)
    assert result.pairs == result.votes == 0
    assert set(result.values.values()) == {None}
    assert all("no pair has two votes" in result.explanations[key] for key in STATISTICS)


def test_a_unanimous_single_answer_leaves_alpha_undefined_but_not_raw_agreement():
    result = agreement([[2, 0, 0]] * 40)
    assert result.values["raw"] == 1.0
    assert result.values["alpha_nominal"] is None and result.values["fleiss_kappa"] is None
    assert "same answer" in result.explanations["alpha_nominal"]
    low, high = result.intervals["raw"]
    assert 0.85 < low < 0.95 and high == 1.0


def test_the_interval_covers_the_planted_agreement_about_95_times_in_100():
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        agree = rng.random(150) < 0.726
        rows = np.where(agree[:, None], [2, 0, 0], [1, 0, 1])
        low, high = agreement(rows, resamples=300, seed=trial).intervals["raw"]
        hits += low <= 0.726 <= high
    assert 181 <= hits <= 199


def test_the_interval_has_the_half_width_that_theory_gives():
    rows = [[2, 0, 0]] * 363 + [[0, 0, 2]] * 363 + [[1, 0, 1]] * 274
    low, high = agreement(rows, resamples=4000).intervals["raw"]
    assert (high - low) / 2 == pytest.approx(1.96 * (0.726 * 0.274 / 1000) ** 0.5, rel=0.08)


def test_pairs_of_one_prompt_are_drawn_together_so_the_interval_widens():
    rows = [[2, 0, 0]] * 60 + [[1, 0, 1]] * 40
    prompts = [i // 10 for i in range(100)]
    by_pair = agreement(rows, resamples=2000).intervals["raw"]
    by_prompt = agreement(rows, prompts, resamples=2000).intervals["raw"]
    assert by_prompt[1] - by_prompt[0] > 2 * (by_pair[1] - by_pair[0])
    same = agreement(rows, list(range(100)), resamples=2000).intervals["raw"]
    assert same == pytest.approx(by_pair, abs=0.03)


def test_pairs_of_a_single_prompt_have_no_interval_and_say_why():
    result = agreement([[2, 0, 0], [1, 0, 1]], [7, 7])
    assert result.values["raw"] == 0.5
    assert result.intervals["raw"] is None
    assert "one prompt" in result.explanations["raw"]


def test_the_same_votes_give_the_same_interval_twice():
    rows = [[2, 0, 0], [0, 2, 0], [1, 0, 1], [0, 0, 2]] * 9
    assert agreement(rows) == agreement(rows)


def many_prompts(prompts: int, *, seed: int):
    """Four pairs on each prompt, more alike than those of different prompts, in many patterns."""
    rng = np.random.default_rng(seed)
    easy = rng.beta(3, 1, size=prompts).repeat(4)
    agree = rng.random(len(easy)) < easy
    one = rng.integers(0, 3, size=len(easy))
    two = np.where(agree, one, (one + 1) % 3)
    return np.eye(3, dtype=int)[one] + np.eye(3, dtype=int)[two], np.arange(prompts).repeat(4)


def widths(found):
    return np.array([high - low for low, high in found.intervals.values()])


def test_drawing_totals_as_normal_gives_the_intervals_of_drawing_prompts(monkeypatch):
    rows, prompts = many_prompts(3000, seed=1)
    quick = agreement(rows, prompts, resamples=4000)
    monkeypatch.setattr("annotate.statistics.agreement.MANY", 10**9)
    slow = agreement(rows, prompts, resamples=4000)
    assert quick.values == slow.values
    assert widths(quick) == pytest.approx(widths(slow), rel=0.06)
    for key in STATISTICS:
        assert quick.intervals[key] == pytest.approx(slow.intervals[key], abs=0.003)


def test_a_part_of_the_prompts_gives_exact_values_and_nearly_the_same_intervals():
    rows, prompts = many_prompts(8000, seed=2)
    whole = agreement(rows, prompts)
    part = prompts % 4 == 1
    found = agreement(rows[part], prompts[part], totals=sums(rows).sum(axis=0), share=0.25)
    assert (found.pairs, found.votes) == (whole.pairs, whole.votes)
    assert found.values == pytest.approx(whole.values)
    assert widths(found) == pytest.approx(widths(whole), rel=0.12)
    for key in STATISTICS:
        assert found.intervals[key] == pytest.approx(whole.intervals[key], abs=0.004)


@given(count_rows, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_pairs_changes_neither_values_nor_intervals(rows, seed):
    order = np.random.default_rng(seed).permutation(len(rows))
    assert agreement(np.array(rows)[order], resamples=20) == agreement(rows, resamples=20)


joint_answers = st.lists(
    st.tuples(st.sampled_from("atb"), st.sampled_from("atb")), min_size=1, max_size=40
)


def joint(answers):
    return [[answers.count((x, y)) for y in "atb"] for x in "atb"]


@given(joint_answers)
@settings(max_examples=60, deadline=None)
def test_cohens_kappa_equals_scikit_learn_and_does_not_depend_on_who_is_first(answers):
    found = cohen_kappa(joint(answers))
    assert close(found, cohen_kappa(np.transpose(joint(answers))))
    swapped = {"a": "b", "t": "t", "b": "a"}
    assert close(found, cohen_kappa(joint([(swapped[x], swapped[y]) for x, y in answers])))
    if found is None:
        assert len({answer for both in answers for answer in both}) == 1
    else:
        one, other = zip(*answers, strict=True)
        assert found == pytest.approx(metrics.cohen_kappa_score(one, other), abs=1e-9)


def test_cohens_kappa_of_no_answers_is_not_defined():
    assert cohen_kappa([[0, 0, 0]] * 3) is None
