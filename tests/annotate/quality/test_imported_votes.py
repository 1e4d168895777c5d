"""Imported tables on the quality page: all their votes, and nothing that no source has told."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from django.utils import timezone

from annotate.importing.imported_row import Judgement, Row
from annotate.importing.row_store import Writer
from annotate.people import annotator_figures
from annotate.quality import agreement_counts, bias, breakdowns, pairs_by_agreement
from annotate.quality.reliability import refresh_labels
from tests.annotate.importing.test_row_store import judged

CLASSES = ("a", "tie", "b")
PEOPLE = ("anna", "bob", "cem")


def store(project, *rows: Row) -> None:
    Writer(project, now=timezone.now()).add(rows)


@pytest.fixture
def table() -> list[tuple[tuple[str, str], list[str]]]:
    """Texts and three people's choices of 300 pairs, 3 % of equal texts."""
    rng = random.Random(5)
    rows = []
    for i in range(300):
        right = rng.choice(CLASSES)
        choices = [right if rng.random() < 0.7 else rng.choice(CLASSES) for _ in PEOPLE]
        rows.append(((f"reply {i}", f"reply {i}" if i % 33 == 0 else f"other {i}"), choices))
    return rows


def test_agreement_over_all_rows_is_that_of_the_reference_library(project, table):
    store(
        project,
        *(
            judged(*zip(PEOPLE, choices, strict=True), texts=texts, models=("m1", "m2"))
            for texts, choices in table
        ),
    )
    every = agreement_counts.measure(project, every=True).agreement
    assert (every.pairs, every.votes) == (300, 900)
    answers = np.array([[CLASSES.index(one) for one in choices] for _, choices in table], float).T
    for level in ("nominal", "ordinal"):
        oracle = krippendorff.alpha(answers, level_of_measurement=level)
        assert every.values[f"alpha_{level}"] == pytest.approx(oracle, abs=1e-9)
    first_two = agreement_counts.measure(project).agreement
    oracle = krippendorff.alpha(answers[:2], level_of_measurement="nominal")
    assert first_two.values["alpha_nominal"] == pytest.approx(oracle, abs=1e-9)


def test_a_long_table_in_any_order_agrees_like_the_same_table_by_rows(project, table):
    rows = [
        judged((who, choice), texts=texts, models=("m1", "m2"), swapped=n % 2 == 1)
        for texts, choices in table[:60]
        for n, (who, choice) in enumerate(zip(PEOPLE, choices, strict=True))
    ]
    random.Random(1).shuffle(rows)
    store(project, *rows)
    every = agreement_counts.measure(project, every=True).agreement
    # Which text is called A may differ, so that alpha may; how often people agree may not.
    same = [len({*duo}) == 1 for _, choices in table[:60] for duo in combinations(choices, 2)]
    assert (every.pairs, every.votes) == (60, 180)
    assert every.values["raw"] == pytest.approx(sum(same) / len(same))


def test_only_sides_and_times_that_a_source_has_told_are_measured(project):
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    rows = [
        judged(
            Judgement("a", "anna", left="a", at=at + timedelta(minutes=i)),
            Judgement("a", "bob"),
            ask=f"Q{i}",
        )
        for i in range(12)
    ]
    store(project, *rows)
    people = bias.left_picks(project, "all", False)
    assert [(one.votes, one.left) for one in people] == [(12, 12)]
    assert bias.tiredness(project, "all", False).votes == 12
    figures = {row.member.user.first_name: row for row in annotator_figures.rows(project)}
    assert (figures["anna"].left.n, figures["bob"].left.n) == (12, 0)
    assert (figures["anna"].last_vote, figures["bob"].last_vote) == (
        at + timedelta(minutes=11),
        None,
    )
    assert figures["anna"].agreement.value == 1.0
    assert breakdowns.by_day(project, "all", False) == []


def test_people_without_sides_are_not_said_to_lean_and_labels_become_probable(project):
    rows = [judged(*((who, "a") for who in PEOPLE), ask=f"Q{i}") for i in range(40)]
    store(project, *rows)
    refresh_labels(project)
    for member in project.memberships.all():
        assert member.reliability > 0.9
    assert all(pair.label.p_a > 0.9 for pair in project.pairs.select_related("label"))


@pytest.mark.parametrize("order", ["last", "-last", "agreement", "-votes"])
def test_pairs_whose_votes_have_no_time_are_in_every_list_once(project, order):
    at = datetime(2024, 5, 1, tzinfo=UTC)
    rows = [
        judged(
            Judgement("a", "anna", at=at + timedelta(hours=i) if i % 3 else None),
            ("bob", "a"),
            ask=f"Q{i}",
        )
        for i in range(120)
    ]
    store(project, *rows)
    shown, after = [], ""
    while True:
        page = pairs_by_agreement.page(project, order=order, after=after)
        shown += [pair.pk for pair in page.pairs]
        if page.next is None:
            break
        after = str(page.next)
    assert len(shown) == 120 and len(set(shown)) == 120
