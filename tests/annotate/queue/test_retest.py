"""Retests and leases: the same pair again with its sides swapped; leases that fit the person."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate import exchange, queue
from annotate.exporting import freezing
from annotate.models import Assignment, Membership, Pair, Project
from annotate.people import annotator_figures
from annotate.people.annotator_figures import Share
from annotate.people.labelling_progress import open_pairs

MakePairs = Callable[..., list[Pair]]


@pytest.fixture
def asking(project: Project) -> Project:
    """Half of what is offered is a retest, once there is something to ask again."""
    project.retest_share, project.gold_share = 0.5, 0.0
    project.save()
    return project


def label(project: Project, user: User, n: int, *, choice: str = "a") -> list[Assignment]:
    rng, seen = random.Random(0), []
    for _ in range(n):
        assignment = queue.next_pair(project, user, rng=rng)
        if assignment is None:
            break
        queue.vote(user, assignment.token, choice=choice)
        seen.append(assignment)
    return seen


def test_a_retest_comes_after_twenty_acts_with_the_sides_swapped(
    asking: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(60)
    seen = label(asking, ann, 50)
    retests = [i for i, one in enumerate(seen) if one.pair.kind == "retest"]
    assert retests and retests[0] > 20
    place = {one.pair_id: i for i, one in enumerate(seen)}
    for i in retests:
        again, first = seen[i], seen[place[seen[i].pair.retest_of_id]]
        assert i - place[first.pair_id] > 20
        assert {again.left, first.left} == {"a", "b"}
        assert queue.shown(again)["left"] == queue.shown(first)["right"]
    originals = [seen[i].pair.retest_of_id for i in retests]
    assert len(set(originals)) == len(originals)


def test_a_retest_is_for_one_person_and_outside_every_count(
    asking: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(40)
    before = exchange.counts(asking)["pairs_open"]
    seen = label(asking, ann, 30)
    retests = {one.pair_id for one in seen if one.pair.kind == "retest"}
    assert retests
    assert not retests & {one.pair_id for one in label(asking, ben, 10)}
    counted = Assignment.objects.filter(state="voted").exclude(pair__in=retests).count()
    assert exchange.counts(asking)["votes"] == counted
    taught = exchange.preferences(asking, freezing.freeze(asking), include_simulated=False)
    assert not {row["pair_id"] for row in taught} & set(
        Pair.objects.filter(pk__in=retests).values_list("key", flat=True)
    )
    open_now = Pair.objects.filter(state="open").count()
    assert open_pairs(asking, ann).total == open_now <= before
    assert not Pair.objects.filter(pk__in=retests, label__isnull=False).exists()


def test_no_retest_hides_among_comparisons_that_the_person_may_not_have(
    asking: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(25)
    asking.retest_share = 0.0
    assert len(label(asking, ann, 26)) == 25
    make_pairs(2, kind="evaluation")
    asking.retest_share = 1.0
    Membership.objects.filter(user=ben).update(evaluates=True)
    assert queue.next_pair(asking, ann) is None
    Membership.objects.filter(user=ann).update(evaluates=True)
    given = queue.next_pair(asking, ann)
    assert given is not None and given.pair.kind == "retest"


def again(project: Project) -> dict[int, Share]:
    """Person -> the retests they answered as the first time."""
    return {one.annotator_id: one.retest for one in annotator_figures.count(project)}


def test_results_compare_with_the_first_answer_by_class(
    asking: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(60)
    label(asking, ann, 21, choice="tie")
    seen = label(asking, ann, 8, choice="both_bad") + label(asking, ann, 8, choice="b")
    answered = [one for one in seen if one.pair.kind == "retest"]
    ties = sum(one in seen[:8] for one in answered)
    assert 0 < ties < len(answered)
    assert again(asking) == {ann.pk: Share(ties, len(answered))}


def test_no_retest_comes_when_there_is_nothing_else(
    asking: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(25)
    label(asking, ann, 100)
    rng = random.Random(3)
    assert all(queue.next_pair(asking, ann, rng=rng) is None for _ in range(20))


def test_an_undone_retest_counts_by_its_second_answer(
    asking: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(60)
    label(asking, ann, 21)
    rng = random.Random(1)
    while (one := queue.next_pair(asking, ann, rng=rng)) and one.pair.kind != "retest":
        queue.vote(ann, one.token, choice="a")
    assert one is not None
    queue.vote(ann, one.token, choice="a")
    queue.undo(ann, asking)
    assert queue.vote(ann, one.token, choice="b").status == "stored"
    assert again(asking) == {ann.pk: Share(0, 1)}


@pytest.mark.parametrize(
    ("pace_ms", "seconds"),
    [(None, 600), (5_000, 300), (200_000, 600), (3_000_000, 1800)],
)
def test_a_lease_lasts_three_votes_of_this_person(
    project: Project, ann: User, make_pairs: MakePairs, pace_ms: int | None, seconds: int
) -> None:
    make_pairs(1)
    Membership.objects.filter(user=ann).update(pace_ms=pace_ms)
    now = timezone.now()
    lease = queue.next_pair(project, ann, now=now)
    assert lease is not None and lease.expires_at == now + timedelta(seconds=seconds)
    later = now + timedelta(seconds=100)
    assert queue.renew(ann, lease.token, now=later) == later + timedelta(seconds=seconds)


def test_the_pace_is_the_median_of_the_active_time(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    for i in range(30):
        assignment = queue.next_pair(project, ann)
        assert assignment is not None
        queue.vote(ann, assignment.token, choice="a", active_ms=900_000 if i % 3 == 0 else 8_000)
    assert Membership.objects.get(user=ann).pace_ms == 8_000


def test_the_heartbeat_keeps_a_lease_and_tells_when_it_has_ended(
    project: Project,
    ann: User,
    ben: User,
    make_pairs: MakePairs,
    client_for: Callable[[User], Client],
) -> None:
    make_pairs(1)
    lease = queue.next_pair(project, ann, now=timezone.now() - timedelta(seconds=590))
    assert lease is not None
    address = f"/projects/desk/label/{lease.token}/renew/"
    assert client_for(ann).post(address).status_code == 204
    assert queue.release_expired(project, now=timezone.now() + timedelta(seconds=60)) == 0
    assert client_for(ben).post(address).status_code == 404
    queue.skip(ann, lease.token)
    assert client_for(ann).post(address).status_code == 410
    unknown = f"/projects/desk/label/{uuid4()}/renew/"
    assert client_for(ann).post(unknown).status_code == 404
