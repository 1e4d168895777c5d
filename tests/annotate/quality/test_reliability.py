"""The job that turns votes into reliabilities and label probabilities."""

from __future__ import annotations

import random

import pytest

from annotate import exchange, queue
from annotate.models import Adjudication, Assignment, Gold, Label, Membership, Pair
from annotate.sample.simulated_votes import cast_votes
from annotate.votes import labels
from tests.conftest import person


def cast(project, user, choices: list[str], **how) -> None:
    """The person votes on that many pairs, the choice by the pair's place among all."""
    order = list(project.pairs.order_by("pk").values_list("pk", flat=True))
    for _ in choices:
        lease = queue.next_pair(project, user, rng=random.Random(1))
        assert lease is not None
        choice = choices[order.index(lease.pair_id)]
        queue.vote(user, lease.token, choice=choice, **how)


def reliability(user) -> float | None:
    return Membership.objects.get(user=user).reliability


def probabilities(pair) -> tuple[float | None, ...]:
    return Label.objects.values_list("p_a", "p_tie", "p_b").get(pair=pair)


@pytest.fixture
def judged(project, make_pairs, ann, ben, cleo):
    """Thirty pairs, three votes each: ann and ben are right, cleo often is not."""
    pairs = make_pairs(30, wanted=3, asked=3, open_slots=3)
    right = ["a" if i % 2 else "b" for i in range(30)]
    wrong = [("b" if one == "a" else "a") if i % 3 else one for i, one in enumerate(right)]
    cast(project, ann, right)
    cast(project, ben, right)
    cast(project, cleo, wrong)
    return pairs


def test_reliabilities_and_probabilities_follow_from_the_votes(project, judged, ann, ben, cleo):
    exchange.refresh_labels(project)
    assert min(reliability(ann), reliability(ben)) > 0.85
    assert reliability(cleo) < 0.6
    assert Membership.objects.get(user=ann).reliability_at is not None
    for i, pair in enumerate(judged):
        p_a, p_tie, p_b = probabilities(pair)
        assert p_a + p_tie + p_b == pytest.approx(1)
        assert (p_a if i % 2 else p_b) > 0.9


def test_refreshing_again_changes_nothing(project, judged, ann):
    exchange.refresh_labels(project)
    before = list(Label.objects.order_by("pk").values_list("p_a", "p_tie", "p_b"))
    exchange.refresh_labels(project)
    assert list(Label.objects.order_by("pk").values_list("p_a", "p_tie", "p_b")) == before


def test_somebody_whose_votes_cannot_be_compared_has_no_reliability(project, make_pairs, ann, ben):
    (pair,) = make_pairs(1, wanted=1, limit=1, agree=1, asked=1, open_slots=1)
    cast(project, ann, ["a"])
    exchange.refresh_labels(project)
    assert reliability(ann) is None and reliability(ben) is None
    p_a, _, p_b = probabilities(pair)
    assert p_a > 0.5 > p_b


def test_a_gold_pair_shows_who_is_right(project, make_pairs, ann, ben):
    golds = make_pairs(
        12, kind="gold", arms="both", wanted=2, limit=2, agree=2, asked=2, open_slots=2
    )
    Gold.objects.bulk_create(Gold(pair=pair, expected="a") for pair in golds)
    cast(project, ann, ["a"] * 12)
    cast(project, ben, ["b"] * 12)
    exchange.refresh_labels(project)
    assert reliability(ann) > 0.7 and reliability(ben) < 0.3
    assert not Label.objects.exists()


def test_a_second_vote_of_the_same_person_is_no_second_opinion(project, make_pairs, ann):
    make_pairs(5, wanted=1, limit=1, agree=1, asked=1, open_slots=1)
    make_pairs(5, kind="retest", arms="both")
    cast(project, ann, ["a"] * 10)
    exchange.refresh_labels(project)
    assert reliability(ann) is None


def test_simulated_votes_count_only_where_the_project_trains_on_them(project, make_pairs):
    make_pairs(20)
    cast_votes(project, annotators=3, votes=60, seed=1)
    exchange.refresh_labels(project)
    simulated = Membership.objects.filter(simulated=True)
    assert not simulated.exclude(reliability=None).exists()
    assert not Label.objects.exclude(p_a=None).exists()
    project.train_on_simulated = True
    exchange.refresh_labels(project)
    assert simulated.exclude(reliability=None).count() == 3
    assert not Label.objects.filter(p_a=None).exists()
    project.train_on_simulated = False
    exchange.refresh_labels(project)
    assert not Label.objects.exclude(p_a=None).exists()


def test_what_a_reviewer_decided_stays_whatever_is_voted(project, make_pairs, ann, ben, olga):
    (pair,) = make_pairs(1)
    cast(project, ann, ["a"])
    cast(project, ben, ["a"])
    Adjudication.objects.create(pair=pair, reviewer=olga, choice="b", category="annotator_error")
    labels.refresh(pair)
    label = Label.objects.get(pair=pair)
    assert (label.outcome, label.method, label.vote_fraction) == ("b", "adjudicated", 1.0)
    assert probabilities(pair) == (0, 0, 1)
    exchange.refresh_labels(project)
    assert probabilities(pair) == (0, 0, 1)
    assert reliability(ann) < 0.7
    Assignment.objects.update(state="released")
    labels.refresh(pair)
    assert Label.objects.get(pair=pair).outcome == "b"


def test_the_minute_tick_refreshes_once_after_new_votes(project, make_pairs, ann, ben, olga):
    make_pairs(3)
    assert not exchange.refresh_labels_if_due(project)
    cast(project, ann, ["a"] * 3)
    assert exchange.refresh_labels_if_due(project)
    assert not exchange.refresh_labels_if_due(project)
    cast(project, ben, ["a"] * 3)
    assert exchange.refresh_labels_if_due(project)
    assert not exchange.refresh_labels_if_due(project)
    pair = Pair.objects.first()
    Adjudication.objects.create(pair=pair, reviewer=olga, choice="b", category="ambiguous")
    assert exchange.refresh_labels_if_due(project)


def test_only_the_project_itself_is_touched(project, judged, ann):
    from annotate.models import Project

    other = Project.objects.create(slug="other", name="Other")
    stranger = person("stranger", project=other, role="annotator")
    exchange.refresh_labels(project)
    exchange.refresh_labels(other)
    assert reliability(stranger) is None and reliability(ann) is not None


# What training gets


def rows_of(project) -> dict[str, dict]:
    version = exchange.freeze(project)
    return {
        row["pair_id"]: row
        for row in exchange.preferences(project, version, include_simulated=False)
    }


def test_votes_weigh_by_trust_and_one_on_average(project, judged, ann, cleo):
    exchange.refresh_labels(project)
    Membership.objects.filter(user=ann).update(weight=2.0)
    rows = rows_of(project)
    weights = {vote["annotator"]: vote["weight"] for vote in rows["pair-4"]["votes"]}
    assert weights["ann-ann"] == pytest.approx(2 * weights["ann-ben"], rel=0.05)
    assert weights["ann-ben"] > 1 and 0 < weights["ann-cleo"] < 0.3
    assert weights["ann-ann"] / 2 + weights["ann-ben"] + weights["ann-cleo"] == pytest.approx(3)


def test_rows_carry_the_probabilities_of_the_votes_they_hold(project, judged, make_pairs, ann):
    exchange.refresh_labels(project)
    row = rows_of(project)["pair-3"]
    assert row["soft"] == pytest.approx(probabilities(judged[3]), abs=1e-5)
    assert row["decided"] == ""
    Label.objects.update(n_votes=2)
    assert rows_of(project)["pair-3"]["soft"] is None


def test_a_reviewers_answer_is_what_training_gets(project, judged, olga):
    Adjudication.objects.create(pair=judged[1], reviewer=olga, choice="b", category="ambiguous")
    exchange.refresh_labels(project)
    row = rows_of(project)["pair-1"]
    assert (row["decided"], row["soft"]) == ("b", [0, 0, 1])
    assert len(row["votes"]) == 3
