"""Leases that end before their vote, and the votes that come all the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from annotate import queue
from annotate.models import Pair, Project
from tests.annotate.queue.test_queue import lease

MakePairs = Callable[..., list[Pair]]


def later(project: Project) -> datetime:
    return timezone.now() + timedelta(seconds=project.lease_seconds + 1)


def test_an_expired_lease_gives_its_place_to_the_next_person_who_asks(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    lease(project, ann)
    lease(project, ben)
    assert queue.next_pair(project, cleo) is None
    assert lease(project, cleo, now=later(project)).pair == pair


def test_release_expired_frees_the_places_of_one_project_or_of_all(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    other.memberships.create(user=ann)
    pairs = [*make_pairs(1), *make_pairs(1, project=other)]
    lease(project, ann)
    lease(other, ann)
    assert queue.release_expired() == 0
    assert queue.release_expired(other, now=later(project)) == 1
    assert queue.release_expired(now=later(project)) == 1
    for pair in pairs:
        pair.refresh_from_db()
        assert (pair.open_slots, pair.asked, pair.left_balance) == (2, 2, 0)


def test_a_released_pair_may_come_back_to_the_same_person_with_the_same_sides(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    first = lease(project, ann)
    queue.release_expired(now=later(project))
    again = lease(project, ann)
    assert (again.token, again.left) == (first.token, first.left)


def test_a_person_who_comes_back_before_anyone_needed_the_place_keeps_the_lease(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    first = lease(project, ann)
    assert lease(project, ann, now=later(project)).token == first.token
    pair.refresh_from_db()
    assert pair.open_slots == 1


def test_a_late_vote_counts_while_its_place_is_still_held(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    cast = queue.vote(ann, lease(project, ann).token, choice="a", now=later(project))
    pair.refresh_from_db()
    assert cast.status == "stored" and pair.n_a == 1


def test_a_late_vote_takes_a_place_that_is_free(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.release_expired(now=later(project))
    assert queue.vote(ann, token, choice="a").status == "stored"
    pair.refresh_from_db()
    assert (pair.n_a, pair.open_slots) == (1, 1)


def test_a_late_vote_on_a_filled_pair_is_kept_as_surplus(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.release_expired(now=later(project))
    for user in (ben, cleo):
        queue.vote(user, lease(project, user).token, choice="a")
    late = queue.vote(ann, token, choice="b")
    pair.refresh_from_db()
    assert (late.status, late.assignment.seq, late.assignment.surplus) == ("surplus", 3, True)
    assert (pair.state, pair.votes, pair.cast) == ("resolved", 2, 3)
    assert (pair.label.n_votes, pair.label.vote_fraction) == (2, 1.0)
    assert queue.vote(ann, token, choice="b").status == "replayed"


def test_an_undone_surplus_vote_takes_a_place_only_if_one_is_free(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    token = lease(project, ann).token
    queue.release_expired(now=later(project))
    for user in (ben, cleo):
        queue.vote(user, lease(project, user).token, choice="a")
    queue.vote(ann, token, choice="b")
    queue.undo(ann, project)
    pair.refresh_from_db()
    assert (pair.open_slots, pair.votes) == (0, 2)
    assert queue.release_expired(now=later(project)) == 1
    pair.refresh_from_db()
    assert (pair.open_slots, pair.asked, pair.state) == (0, 2, "resolved")


def test_a_place_nobody_needs_any_more_is_not_opened_again(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    for user, choice in ((ann, "a"), (ben, "b")):
        queue.vote(user, lease(project, user).token, choice=choice)
    lease(project, cleo)
    queue.undo(ben, project)
    queue.vote(ben, lease(project, ben).token, choice="a")
    queue.release_expired(now=later(project))
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots, pair.asked) == ("resolved", 0, 2)
