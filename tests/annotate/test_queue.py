"""Leasing: who is offered what, and when."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User

from annotate import queue
from annotate.models import Pair, Project

MakePairs = Callable[..., list[Pair]]


def test_it_leases_a_pair(project: Project, ann: User, make_pairs: MakePairs) -> None:
    (pair,) = make_pairs(1)
    assignment = queue.next_pair(project, ann)
    assert assignment is not None and assignment.pair == pair


def test_two_agreeing_votes_resolve(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    for user in (ann, ben):
        a = queue.next_pair(project, user)
        assert a is not None
        assert queue.vote(user, a.token, choice="a").status == "stored"
    pair.refresh_from_db()
    assert pair.state == "resolved" and pair.label.outcome == "a"
    queue.undo(ann, project)
    pair.refresh_from_db()
    assert pair.state == "open"
