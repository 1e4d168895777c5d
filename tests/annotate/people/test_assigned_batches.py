"""Pairs of a person's batches are offered first, or alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from annotate import queue
from annotate.models import Batch, Membership, Pair, Project
from annotate.people import assigned_batches
from annotate.people.labelling_progress import open_pairs

pytestmark = pytest.mark.django_db
MakePairs = Callable[..., list[Pair]]


def batch_of(project: Project, name: str, pairs: list[Pair], *people: User, only: bool) -> Batch:
    chosen = Pair.objects.filter(pk__in=[pair.pk for pair in pairs])
    batch = assigned_batches.make(project, name, chosen, most=100, by=people[0])
    members = project.memberships.filter(user__in=people).values_list("pk", flat=True)
    assigned_batches.give(batch, members, only=members if only else ())
    return batch


def offered(project: Project, user: User) -> list[int]:
    """The pairs in the order in which the person is offered them, each voted on."""
    pairs = []
    while (lease := queue.next_pair(project, user)) is not None:
        pairs.append(lease.pair_id)
        queue.vote(user, lease.token, choice="a")
    return pairs


@pytest.mark.parametrize("stream", ["random", "active"])
def test_a_person_gets_the_pairs_of_their_batches_first_and_others_as_before(
    project: Project, ann: User, ben: User, make_pairs: MakePairs, stream: str
) -> None:
    pairs = make_pairs(6)
    Pair.objects.update(stream=stream)
    mine = pairs[3:5]
    batch_of(project, "Medicine", mine, ann, only=False)
    seen = offered(project, ann)
    assert set(seen[:2]) == {pair.pk for pair in mine}
    assert sorted(seen) == [pair.pk for pair in pairs]
    assert sorted(offered(project, ben)) == [pair.pk for pair in pairs]


def test_a_person_of_batches_alone_gets_nothing_else_and_is_told_so(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(4)
    batch_of(project, "One", pairs[:1], ann, only=True)
    two = batch_of(project, "Two", pairs[1:2], ann, only=True)
    assert sorted(offered(project, ann)) == [pairs[0].pk, pairs[1].pk]
    assert str(open_pairs(project, ann)) == (
        "You are done for now: 2 open pairs of your batches are waiting for other people’s votes."
    )
    assert [share.left for _, share in assigned_batches.of_person(project, ann)] == [0, 0]
    two.delete()
    Batch.objects.all().delete()
    assert Pair.objects.count() == 4
    assert queue.next_pair(project, ann) is None
    assert "gives the next" in str(open_pairs(project, ann))
    Membership.objects.update(batches_only=False)
    assert len(offered(project, ann)) == 2


def test_gold_pairs_and_retests_hide_among_the_pairs_of_a_batch_and_end_with_them(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(3)
    (gold,) = make_pairs(1, kind="gold", stream="check")
    batch_of(project, "One", pairs[:1], ann, only=True)
    project.gold_share = 1.0
    project.save()
    assert offered(project, ann) == [gold.pk, pairs[0].pk]
    make_pairs(1, kind="gold", stream="check")
    assert queue.next_pair(project, ann) is None


def test_a_pair_is_in_one_batch_and_only_while_it_wants_votes(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(5)
    Pair.objects.filter(pk=pairs[0].pk).update(state="resolved", open_slots=0)
    make_pairs(1, kind="gold", stream="check")
    everything = project.pairs.all()
    first = assigned_batches.make(project, "First", everything, most=3, by=ann)
    second = assigned_batches.make(project, "Second", everything, most=3, by=ann)
    sizes = {batch.name: batch.n_pairs for batch in project.batches.with_progress()}
    assert sizes == {"First": 3, "Second": 1}
    with pytest.raises(ValueError, match="in no batch yet"):
        assigned_batches.make(project, "Third", everything, most=3, by=ann)
    assert not set(first.pairs.all()) & set(second.pairs.all())


def test_progress_is_told_by_batch_and_by_person(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(3)
    batch = batch_of(project, "One", pairs, ann, ben, only=True)
    for _ in range(2):
        lease = queue.next_pair(project, ann)
        assert lease is not None
        queue.vote(ann, lease.token, choice="a")
    shares = {one.member.user.username: one for one in assigned_batches.shares(batch)}
    assert (shares["ann"].votes, shares["ann"].left) == (2, 1)
    assert (shares["ben"].votes, shares["ben"].left, shares["ben"].given) == (0, 3, True)
    assert not shares["cleo"].given
    while (lease := queue.next_pair(project, ben)) is not None:
        queue.vote(ben, lease.token, choice="a")
    (row,) = project.batches.with_progress()
    assert (row.n_pairs, row.n_open, row.n_done) == (3, 1, 2)
