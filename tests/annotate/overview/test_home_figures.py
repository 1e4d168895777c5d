"""Figures of a project's home: kept for large projects, equal to the count, and few queries."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from annotate import queue
from annotate.models import Assignment, Completion, Flag, Overview, Pair, Project
from annotate.overview import home_figures
from annotate.overview.vote_days import day_chart
from annotate.quality import agreement_counts
from annotate.quality.bradley_terry import leaderboard, meetings

URL = "/projects/desk/"


@pytest.fixture
def voted(project, make_pairs, ann, ben):
    """Six pairs that two people agree on, two of them judged by a third colleague's program."""
    make_pairs(6)
    for user in (ann, ben):
        for _ in range(4):
            queue.vote(user, queue.next_pair(project, user).token, choice="a", active_ms=30_000)
    return project


def test_kept_figures_are_what_a_count_gives(voted, monkeypatch):
    counted = home_figures.figures(voted)
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    assert home_figures.count_overview_if_due(voted)
    kept = home_figures.figures(voted)
    assert kept.counted_at and dataclasses.replace(kept, counted_at=None) == counted
    assert (counted.votes, counted.annotators, counted.active_minutes) == (8, 2, 4.0)
    assert counted.votes == agreement_counts.summary(voted).votes
    assert counted.days[-1][1:] == (8, 0) and len(counted.days) == home_figures.DAYS


def test_the_page_of_agreement_shows_kept_figures_of_a_large_project(
    voted, olga, client_for, monkeypatch
):
    live = client_for(olga).get(f"{URL}quality/").text
    counted = agreement_counts.by_stream(voted)
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    assert home_figures.count_overview_if_due(voted)
    streams, at = home_figures.agreement_by_stream(voted, include_simulated=False)
    assert (streams, home_figures.progress(voted)) == (counted, agreement_counts.summary(voted))
    kept = client_for(olga).get(f"{URL}quality/").text
    assert at and "and again as votes come" in kept and "and again as votes come" not in live
    Pair.objects.update(n_a=0)
    assert home_figures.progress(voted).votes == 8, "nothing is counted for the page"


def test_the_leaderboard_of_other_pairs_is_the_kept_one_in_a_large_project(
    voted, olga, client_for, monkeypatch
):
    for pair in Pair.objects.all():
        Completion.objects.filter(pk=pair.completion_a_id).update(policy="llama")
    board = f"{URL}leaderboard/?pairs=training"
    live = client_for(olga).get(board).text
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    assert home_figures.count_overview_if_due(voted)
    counted = home_figures.leaderboard_of_other_pairs(Project.objects.get())
    assert counted[0] == leaderboard(meetings(voted, "training")) and counted[1]
    Pair.objects.update(n_a=0)
    kept = client_for(olga).get(board).text
    assert "8 votes on 4 prompts" in live and "8 votes on 4 prompts" in kept
    assert "and again as votes come" in kept and "and again as votes come" not in live
    against = client_for(olga).get(f"{board}&reference=llama").text
    assert "No votes yet" in against, "another reference is counted for the page"


def test_simulated_votes_are_told_apart_and_surplus_ones_count_nowhere(voted):
    first, second, *_ = Assignment.objects.voted()
    Assignment.objects.filter(pk=first.pk).update(simulated=True)
    Assignment.objects.filter(pk=second.pk).update(surplus=True)
    figures = home_figures.figures(voted)
    assert figures.simulated_votes == 1 and figures.days[-1][1:] == (6, 1)


def test_a_small_project_keeps_none_and_a_large_one_follows_its_votes(voted, ann, monkeypatch):
    assert not home_figures.count_overview_if_due(voted)
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    assert home_figures.count_overview_if_due(voted)
    assert not home_figures.count_overview_if_due(voted)
    queue.vote(ann, queue.next_pair(voted, ann).token, choice="b")
    assert home_figures.count_overview_if_due(voted)
    Overview.objects.update(counted_at=timezone.now() - timedelta(minutes=61))
    assert home_figures.count_overview_if_due(voted)


def test_figures_of_another_release_are_counted_anew(voted, monkeypatch):
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    home_figures.count_overview_if_due(voted)
    Overview.objects.update(figures={"votes": 8, "formerly": 1})
    assert home_figures.figures(voted).counted_at is None
    assert home_figures.count_overview_if_due(voted)
    assert home_figures.figures(voted).counted_at is not None


def test_fresh_pairs_are_kept_by_version_where_figures_are(voted, monkeypatch):
    home_figures.keep_fresh_pairs(voted, None, 12)
    assert home_figures.kept_fresh_pairs(voted, None) is None
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    home_figures.count_overview_if_due(voted)
    for version, n in ((None, 12), (3, 7)):
        home_figures.keep_fresh_pairs(voted, version, n)
        assert home_figures.kept_fresh_pairs(voted, version) == n
    assert home_figures.kept_fresh_pairs(voted, None) is None


def test_the_home_of_a_large_project_counts_no_votes(
    voted, client_for, olga, monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(home_figures, "LIVE_UP_TO", 3)
    home_figures.count_overview_if_due(voted)
    home_figures.keep_fresh_pairs(voted, None, 2)
    client = client_for(olga)
    client.get(URL)
    with django_assert_max_num_queries(16) as asked:
        assert client.get(URL).status_code == 200
    assert not [one["sql"] for one in asked.captured_queries if "annotate_assignment" in one["sql"]]
    assert not [
        one["sql"] for one in asked.captured_queries if 'FROM "annotate_pair"' in one["sql"]
    ]


@pytest.mark.parametrize("most", [0, 1, 2, 3, 9, 100, 101, 12_345])
def test_every_day_fits_under_the_highest_tick(most):
    chart = day_chart([("2026-11-29", most // 3, most - most // 3), ("2026-11-30", 0, 0)])
    top = chart.ticks[-1]
    assert top[1] >= most and min(bar.simulated_y for bar in chart.bars) >= top[0] - 0.01
    assert top[1] <= max(2, 2.5 * most)


def test_every_page_counts_the_pairs_of_the_project_alike(
    project, make_pairs, ann, olga, client_for
):
    make_pairs(3)
    make_pairs(2, kind=Pair.Kind.GOLD, stream=Pair.Stream.CHECK)
    make_pairs(1, state=Pair.State.RETIRED, open_slots=0)
    Pair.objects.filter(kind=Pair.Kind.NORMAL, state=Pair.State.OPEN).update(
        state=Pair.State.RESOLVED, open_slots=0
    )
    Pair.objects.filter(kind=Pair.Kind.GOLD).update(open_slots=0, asked=0)
    client = client_for(olga)
    assert home_figures.figures(project).pairs == 3
    assert "Pairs in the project</dt><dd>3<" in client_for(ann).get(f"{URL}label/").text
    assert "of 3 pairs settled" in client.get("/projects/").text
    assert "3 pairs, 2 gold pairs and 1 retired pair" in client.get(f"{URL}data/").text


def test_every_page_names_the_same_number_to_adjudicate(
    project, make_pairs, ann, ben, olga, client_for
):
    split, flagged = make_pairs(2)
    queue.vote(ann, queue.next_pair(project, ann).token, choice="a")
    Pair.objects.filter(pk=split.pk).update(state=Pair.State.ADJUDICATE, open_slots=0)
    Flag.objects.create(pair=flagged, annotator=ben, kind=Flag.Kind.UNSAFE)
    client = client_for(olga)
    assert "1 without a majority · 0 against the reward model · 1 flagged" in (
        client.get(f"{URL}adjudicate/").text
    )
    assert ">2 to adjudicate<" in client.get(URL).text
    agreement = client.get(f"{URL}quality/").text
    [waiting] = re.findall(r"To adjudicate</button>.*?<dd>(\d+)</dd>", agreement, re.DOTALL)
    assert waiting == "2"
