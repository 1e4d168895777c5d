"""A person's own progress: their goal, their pace, and what is true when nothing is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.models import Membership, Pair, Project
from annotate.people import cached_annotator_figures
from annotate.people.labelling_progress import OpenPairs, open_pairs, progress

LABEL = "/projects/desk/label/"


def test_the_minutes_that_are_left_come_from_the_persons_own_pace(
    project: Project, ann: User, make_pairs: Callable[..., list[Pair]]
) -> None:
    make_pairs(1)
    lease = queue.next_pair(project, ann)
    assert lease
    queue.vote_side(ann, lease.token, "left", active_ms=30_000)
    known = progress(project, ann)
    assert (known.today, known.goal, known.left_minutes, known.active_ms) == (1, 50, None, 30_000)
    Membership.objects.filter(user=ann).update(pace_ms=20_000)
    assert progress(project, ann).left_minutes == round(49 / 3)
    Membership.objects.filter(user=ann).update(daily_goal=1)
    assert (progress(project, ann).goal, progress(project, ann).left_minutes) == (1, None)


def test_votes_since_the_last_count_are_added_to_it_in_a_large_project(
    client_for: Callable[[User], Client],
    project: Project,
    ann: User,
    make_pairs: Callable[..., list[Pair]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_pairs(9)

    def vote(n: int) -> None:
        for _ in range(n):
            lease = queue.next_pair(project, ann)
            assert lease
            queue.vote_side(ann, lease.token, "left")

    vote(4)
    monkeypatch.setattr(cached_annotator_figures, "LIVE_UP_TO", 3)
    assert cached_annotator_figures.count_annotators_if_due(project)
    assert progress(project, ann).total == 4
    vote(2)
    for total, undone in ((6, False), (5, True)):
        if undone:
            queue.undo(ann, project)
        assert progress(project, ann).total == total
        page = client_for(ann).get("/projects/").content.decode()
        assert f"{total} votes of yours" in page


def test_the_screen_speaks_of_the_person(
    client_for: Callable[[User], Client],
    project: Project,
    ann: User,
    make_pairs: Callable[..., list[Pair]],
) -> None:
    make_pairs(2)
    client = client_for(ann)
    page = client.get(LABEL).content.decode()
    assert "<b>0</b> of your 50 today</p>" in page and "pairs open" not in page
    Membership.objects.filter(user=ann).update(pace_ms=7_000)
    assert "of your 50 today, about 6 minutes" in client.get(LABEL).content.decode()
    Project.objects.update(daily_goal=0)
    assert "<b>0</b> today</p>" in client.get(LABEL).content.decode()


def test_who_has_judged_everything_is_told_that_they_are_done(
    client_for: Callable[[User], Client],
    project: Project,
    ann: User,
    ben: User,
    make_pairs: Callable[..., list[Pair]],
) -> None:
    make_pairs(3)
    while lease := queue.next_pair(project, ann):
        queue.vote_side(ann, lease.token, "left")
    assert open_pairs(project, ann) == OpenPairs(total=3, judged=3)
    page = client_for(ann).get(LABEL).content.decode()
    assert "You are done for now: 3 open pairs are waiting for other people’s votes." in page
    assert open_pairs(project, ben) == OpenPairs(total=3, judged=0)


@pytest.mark.parametrize(
    ("total", "judged", "said"),
    [
        (0, 0, "Every pair has the votes it needs"),
        (1, 0, "1 open pair is on other people’s screens"),
        (46, 45, "you have judged or skipped 45, and 1 is on other people’s screens"),
    ],
)
def test_an_empty_queue_says_where_the_open_pairs_are(total: int, judged: int, said: str) -> None:
    assert said in str(OpenPairs(total=total, judged=judged))
