from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from annotate import queue
from annotate.models import Assignment, Pair, Project
from tests.annotate.queue.test_queue import lease

MakePairs = Callable[..., list[Pair]]


def test_a_skipped_pair_is_never_offered_to_that_person_again(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    queue.skip(ann, lease(project, ann).token, reason="not my field")
    assert queue.next_pair(project, ann) is None
    assert lease(project, ben).pair == pair
    assert Assignment.objects.get(annotator=ann).skip_reason == "not my field"


def test_a_skip_gives_the_place_back(project: Project, ann: User, make_pairs: MakePairs) -> None:
    (pair,) = make_pairs(1)
    queue.skip(ann, lease(project, ann).token)
    pair.refresh_from_db()
    assert (pair.open_slots, pair.asked, pair.left_balance) == (2, 2, 0)


def test_skipping_twice_gives_one_place_back(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.skip(ann, token)
    queue.skip(ann, token)
    pair.refresh_from_db()
    assert pair.open_slots == 2


def test_a_skipped_pair_takes_no_vote(project: Project, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(1)
    token = lease(project, ann).token
    queue.skip(ann, token)
    with pytest.raises(queue.Gone):
        queue.vote(ann, token, choice="a")


def test_a_voted_pair_cannot_be_skipped(project: Project, ann: User, make_pairs: MakePairs) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.vote(ann, token, choice="a")
    with pytest.raises(queue.Gone):
        queue.skip(ann, token)
    pair.refresh_from_db()
    assert pair.n_a == 1


def test_a_foreign_token_cannot_be_skipped(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    token = lease(project, ann).token
    with pytest.raises(queue.UnknownAssignment):
        queue.skip(ben, token)
