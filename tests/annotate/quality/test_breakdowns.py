"""Agreement taken apart: by policy, by margin, by who voted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from annotate import queue
from annotate.models import Pair, Prompt
from annotate.quality import breakdowns
from annotate.quality.breakdowns import Day
from annotate.views.reviewing import quality_page

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
    found = breakdowns.by_policy(breakdowns.by_day(project, "all", False))
    assert [(one.name, one.pairs, one.same) for one in found] == [
        ("policy-2", 2, 0),
        ("starter", 2, 2),
    ]


def test_agreement_by_margin_ignores_which_side_the_model_prefers(project, judged):
    found = breakdowns.by_margin(breakdowns.by_day(project, "all", False))
    assert [(one.name.split(":")[0], one.pairs, one.raw) for one in found] == [
        ("below 0.5", 1, 1.0),
        ("0.5 to 1", 1, 1.0),
        ("2 and more", 1, 0.0),
        ("no reward model yet", 1, 0.0),
    ]
    assert breakdowns.by_day(project, "active", False) == []


def test_agreement_over_time_goes_by_the_day_of_the_second_vote(project, judged):
    for i, pair in enumerate(judged):
        Pair.objects.filter(pk=pair.pk).update(
            second_at=datetime(2026, 3, 1 + i // 2, 23, tzinfo=UTC)
        )
    found = breakdowns.by_period(breakdowns.by_day(project, "all", False))
    assert [(one.name, one.pairs, one.same) for one in found] == [
        ("01 Mar 2026", 2, 2),
        ("02 Mar 2026", 2, 0),
    ]


@pytest.mark.parametrize(
    ("span", "first"), [(16, "03 Mar 2026"), (17, "week of 02 Mar 2026"), (113, "Mar 2026")]
)
def test_periods_are_days_weeks_or_months_so_that_their_number_is_readable(span, first):
    days = [Day(date(2026, 3, 3) + timedelta(days=i), 4, "", 0, 2, 1) for i in range(span)]
    found = breakdowns.by_period(days)
    assert found[0].name == first and len(found) <= 17
    assert sum(one.pairs for one in found) == 2 * span


def test_agreement_by_tag_counts_a_prompt_in_each_of_its_tags(project, judged):
    Prompt.objects.filter(pairs=judged[0]).update(tags=["refund", "rude"])
    Prompt.objects.filter(pairs=judged[2]).update(tags=["rude"])
    found = breakdowns.by_tag(project, "all", False)
    assert [(one.name, one.pairs, one.same) for one in found] == [("rude", 2, 1), ("refund", 1, 1)]


def test_agreement_by_tag_counts_a_pair_once_for_each_tag_of_its_own_or_its_prompts(
    project, judged
):
    Prompt.objects.filter(pairs=judged[0]).update(tags=["refund"])
    for pair, tags in (
        (judged[0], ["refund", "rude"]),
        (judged[1], ["rude"]),
        (judged[2], ["rude"]),
    ):
        Pair.objects.filter(pk=pair.pk).update(tags=tags)
    tags = breakdowns.by_tag(project, "all", False)
    assert [(one.name, one.pairs, one.same) for one in tags] == [("rude", 3, 2), ("refund", 1, 1)]


def history(*weeks):
    """(bucket, pairs, same) per week."""
    start = date(2026, 1, 5)
    return [
        Day(start + timedelta(weeks=i), bucket, "", 0, pairs, same)
        for i, week in enumerate(weeks)
        for bucket, pairs, same in week
    ]


def test_a_fall_within_one_margin_raises_the_alarm_and_names_it():
    (fall,) = breakdowns.falls(
        history([(0, 200, 120), (3, 200, 180)], [(0, 200, 120), (3, 200, 140)])
    )
    assert fall.bucket == breakdowns.BUCKETS[3]
    assert (fall.before.raw, fall.now.raw) == (0.9, 0.7)


def test_a_fall_because_the_pairs_became_harder_raises_none():
    # From mostly clear pairs to mostly coin flips: 0.87 before, 0.63 now, 0.6 and 0.9 within.
    days = history([(0, 100, 60), (3, 900, 810)], [(0, 900, 540), (3, 100, 90)])
    assert [round(one.raw, 2) for one in breakdowns.by_period(days)] == [0.87, 0.63]
    assert breakdowns.falls(days) == []


def test_too_few_pairs_raise_no_alarm():
    assert breakdowns.falls(history([(1, 400, 400)], [(1, 49, 0)])) == []
    assert breakdowns.falls([]) == []


def test_two_people_are_compared_once_whoever_voted_first(project, judged, ann, ben):
    pair = Pair.objects.get(first="a", second="b")
    Pair.objects.filter(pk=pair.pk).update(
        first="b", second="a", first_by=pair.second_by, second_by=pair.first_by
    )
    (duo,) = breakdowns.duos(project, "all", False)
    assert (duo.one, duo.other, duo.pairs, duo.raw) == ("ann-ann", "ann-ben", 4, 0.5)
    # "abat" beside "abba": (2 * 2 + 1 * 2) / 16 of the answers agree by chance.
    assert duo.kappa == pytest.approx((0.5 - 0.375) / (1 - 0.375))


def test_the_matrix_has_everybody_against_everybody():
    duos = [
        breakdowns.Duo("ann", "ben", 9, 0.8, None),
        breakdowns.Duo("ben", "cleo", 4, 0.5, None),
    ]
    shares = [(name, [duo and duo.raw for duo in cells]) for name, cells in breakdowns.matrix(duos)]
    assert shares == [
        ("ann", [None, 0.8, None]),
        ("ben", [0.8, None, 0.5]),
        ("cleo", [None, 0.5, None]),
    ]


def test_the_page_says_too_few_pairs_instead_of_a_share(client_for, judged, olga):
    text = client_for(olga).get(URL).text
    assert "too few pairs" in text and "newest period" not in text


def test_the_page_names_a_fall_within_a_margin(client_for, make_pairs, olga):
    pairs = make_pairs(120, first="a", second="a", margin=0.7)
    then, now = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    ids = [pair.pk for pair in pairs]
    Pair.objects.filter(pk__in=ids[:60]).update(second_at=then)
    Pair.objects.filter(pk__in=ids[60:]).update(second_at=now)
    Pair.objects.filter(pk__in=ids[90:]).update(second="b")
    text = client_for(olga).get(URL).text
    assert "agreement fell from 100.0\xa0% (60 pairs) to 50.0\xa0% (60 pairs)" in text
    assert "margin of 0.5 to 1," in text


def test_a_large_project_shows_its_sections_one_by_one(client_for, judged, olga, monkeypatch):
    whole = client_for(olga).get(URL).text
    assert "ann-ben" in whole and "policy-2" in whole
    monkeypatch.setattr(quality_page, "AT_ONCE", 3)
    first = client_for(olga).get(URL).text
    assert "ann-ben" not in first and "?section=duos&amp;stream=all" in first
    opened = client_for(olga).get(URL + "?section=groups").text
    assert "policy-2" in opened and "ann-ben" not in opened and "<h1>" in opened
    part = client_for(olga).get(URL + "?section=duos", headers={"HX-Request": "true"}).text
    assert "ann-ben" in part and "<h1>" not in part
