"""Agreement taken apart: by policy, by margin, by who voted."""

from __future__ import annotations

import pytest
from sklearn.metrics import cohen_kappa_score

from annotate import breakdowns, queue
from annotate.models import Pair
from annotate.views import quality as page

URL = "/projects/desk/quality/"


@pytest.fixture
def judged(project, make_pairs, ann, ben):
    """Four pairs with two votes: (answers, policy, margin) by the order of the queue."""
    pairs = make_pairs(4)
    answers = ("aa", "bb", "ab", "ta")
    words = {"a": "a", "b": "b", "t": "tie"}
    for i, pair in enumerate(pairs):
        Pair.objects.filter(pk=pair.pk).update(
            shuffle=i, policy="policy-2" if i > 1 else "", margin=(-0.2, 0.7, None, -3)[i]
        )
    for both in answers:
        for user, choice in zip((ann, ben), both, strict=True):
            queue.vote(user, queue.next_pair(project, user).token, choice=words[choice])
    return pairs


def test_agreement_by_policy_falls_back_to_who_wrote_the_text(project, judged):
    found = breakdowns.by_policy(project, "all", False)
    assert [(one.name, one.pairs, one.same) for one in found] == [
        ("policy-2", 2, 0),
        ("starter", 2, 2),
    ]


def test_agreement_by_margin_ignores_which_side_the_model_prefers(project, judged):
    found = breakdowns.by_margin(project, "all", False)
    assert [(one.name.split(":")[0], one.pairs, one.raw) for one in found] == [
        ("below 0.5", 1, 1.0),
        ("0.5 to 1", 1, 1.0),
        ("2 and more", 1, 0.0),
        ("no reward model yet", 1, 0.0),
    ]
    assert breakdowns.by_margin(project, "active", False) == []


def test_two_people_are_compared_once_whoever_voted_first(project, judged, ann, ben):
    pair = Pair.objects.get(first="a", second="b")
    Pair.objects.filter(pk=pair.pk).update(
        first="b", second="a", first_by=pair.second_by, second_by=pair.first_by
    )
    (duo,) = breakdowns.duos(project, "all", False)
    assert (duo.one, duo.other, duo.pairs, duo.raw) == ("ann-ann", "ann-ben", 4, 0.5)
    assert duo.kappa == pytest.approx(cohen_kappa_score(list("abat"), list("abba")))


def test_a_large_project_shows_its_sections_one_by_one(client_for, judged, olga, monkeypatch):
    whole = client_for(olga).get(URL).text
    assert "ann-ben" in whole and "policy-2" in whole
    monkeypatch.setattr(page, "AT_ONCE", 3)
    first = client_for(olga).get(URL).text
    assert "ann-ben" not in first and "?section=duos&amp;stream=all" in first
    opened = client_for(olga).get(URL + "?section=groups").text
    assert "policy-2" in opened and "ann-ben" not in opened and "<h1>" in opened
    part = client_for(olga).get(URL + "?section=duos", headers={"HX-Request": "true"}).text
    assert "ann-ben" in part and "<h1>" not in part
