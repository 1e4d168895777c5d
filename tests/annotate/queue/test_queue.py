"""Leasing: who is offered what, in which order and on which side."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from annotate import queue
from annotate.models import Assignment, Membership, Pair, Project

MakePairs = Callable[..., list[Pair]]


def lease(project: Project, user: User, **options: object) -> Assignment:
    found = queue.next_pair(project, user, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_it_leases_a_pair_with_its_texts(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    assignment = lease(project, ann)
    shown = queue.shown(assignment)
    assert assignment.pair == pair
    assert shown["prompt"] == pair.prompt.messages
    assert {shown["left"], shown["right"]} == {pair.completion_a.text, pair.completion_b.text}
    pair.refresh_from_db()
    assert pair.open_slots == 1


def test_it_returns_a_live_lease_again_with_its_expiry_renewed(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(3)
    first = lease(project, ann)
    again = lease(project, ann)
    assert again.token == first.token
    assert again.expires_at > first.expires_at


def test_after_leases_one_more_and_never_a_third(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(5)
    first = lease(project, ann)
    second = lease(project, ann, after=first.token)
    assert second.token != first.token
    assert lease(project, ann, after=first.token).token == second.token
    assert lease(project, ann, after=second.token).token == first.token
    assert Assignment.objects.leased().filter(annotator=ann).count() == 2


def test_it_offers_each_pair_once_to_a_person(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(4)
    seen = []
    while (assignment := queue.next_pair(project, ann)) is not None:
        seen.append(assignment.pair)
        queue.vote(ann, assignment.token, choice="a")
    assert sorted(seen, key=lambda pair: pair.pk) == pairs


def test_it_offers_no_pair_whose_places_are_taken(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    lease(project, ann)
    lease(project, ben)
    assert queue.next_pair(project, cleo) is None


def test_it_never_mixes_projects(project: Project, ann: User, make_pairs: MakePairs) -> None:
    other = Project.objects.create(slug="other", name="Other")
    make_pairs(2, project=other)
    assert queue.next_pair(project, ann) is None


def test_it_offers_nothing_to_a_stranger_a_former_member_or_in_an_archived_project(
    project: Project, ann: User, eve: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    assert queue.next_pair(project, eve) is None
    Membership.objects.filter(user=ann).update(active=False)
    assert queue.next_pair(project, ann) is None
    Membership.objects.filter(user=ann).update(active=True)
    project.archived = True
    assert queue.next_pair(project, ann) is None


def test_a_superuser_can_label_and_gets_a_pseudonym(
    project: Project, root: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    lease(project, root)
    assert Membership.objects.get(user=root, project=project).pseudonym


def test_a_pair_for_one_person_is_offered_to_nobody_else(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, only_for=ann)
    assert queue.next_pair(project, ben) is None
    assert lease(project, ann).pair == pair


def test_the_active_arm_goes_by_priority_and_completes_started_pairs_first(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    project.random_share = 0.0
    low, first, second = make_pairs(3, arms="active", priority=1.0)
    Pair.objects.filter(pk=low.pk).update(priority=0.5)
    started = lease(project, ann)
    assert started.pair == first
    queue.vote(ann, started.token, choice="a")
    assert lease(project, ann).pair == second
    Pair.objects.filter(pk=low.pk).update(priority=5.0)
    assert lease(project, ben).pair == low
    queue.vote(ben, lease(project, ben).token, choice="a")
    # Of equal priority: the pair with the vote, though its number is not the lowest left.
    Pair.objects.filter(pk=low.pk).update(priority=0.5)
    assert lease(project, ben).pair in (first, second)


def test_a_started_pair_comes_before_a_new_one_with_a_lower_number(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    project.random_share = 0.0
    first, second = make_pairs(2, arms="active", priority=1.0)
    Pair.objects.filter(pk=second.pk).update(priority=2.0)
    queue.vote(ann, lease(project, ann).token, choice="a")
    Pair.objects.filter(pk=second.pk).update(priority=1.0)
    assert lease(project, ben).pair == second
    assert first.pk < second.pk


def test_the_random_arm_goes_by_the_drawn_order(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    project.random_share = 1.0
    pairs = make_pairs(5, arms="random", priority=1.0)
    offered = []
    while (assignment := queue.next_pair(project, ann)) is not None:
        offered.append(assignment.pair)
        queue.vote(ann, assignment.token, choice="a")
    assert offered == sorted(pairs, key=lambda pair: pair.shuffle)


def test_the_arm_is_drawn_by_coin_and_stored_with_its_probability(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    project.random_share = 0.25
    make_pairs(40, arms="random")
    make_pairs(40, arms="active", priority=1.0)
    rng = random.Random(5)
    arms = []
    for _ in range(40):
        assignment = lease(project, ann, rng=rng)
        assert assignment.stream == assignment.pair.stream == assignment.pair.arms
        assert assignment.propensity == (0.25 if assignment.stream == "random" else 0.75)
        arms.append(assignment.stream)
        queue.vote(ann, assignment.token, choice="a")
    assert 3 <= arms.count("random") <= 18


@pytest.mark.parametrize("stream", ["random", "active"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_an_empty_arm_falls_back_on_the_other_with_certainty(
    project: Project, ann: User, make_pairs: MakePairs, stream: str, share: float
) -> None:
    project.random_share = share
    make_pairs(6, arms=stream, priority=1.0)
    for _ in range(6):
        assignment = lease(project, ann)
        assert (assignment.stream, assignment.propensity) == (stream, 1.0)
        queue.skip(ann, assignment.token)


def test_the_second_person_sees_the_opposite_side_of_the_first(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    sides: dict[int, set[str]] = {}
    for user in (ann, ben):
        for _ in range(30):
            assignment = lease(project, user)
            sides.setdefault(assignment.pair_id, set()).add(assignment.left)
            queue.vote(user, assignment.token, choice="a")
    assert len(sides) == 30 and all(seen == {"a", "b"} for seen in sides.values())


def test_each_persons_sides_balance(project: Project, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(21)
    lefts = []
    for _ in range(21):
        assignment = lease(project, ann)
        lefts.append(assignment.left)
        queue.vote(ann, assignment.token, choice="tie")
    assert abs(lefts.count("a") - lefts.count("b")) == 1


def test_a_retest_shows_the_sides_swapped(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    original = lease(project, ann)
    queue.vote(ann, original.token, choice="a")
    balance = 1 if original.left == "a" else -1
    make_pairs(
        1, kind="retest", arms="both", only_for=ann, retest_of=original.pair, left_balance=balance
    )
    assert lease(project, ann).left != original.left


@pytest.mark.parametrize(
    ("votes", "kind", "wanted", "limit"),
    [
        ("consensus", "normal", 2, 3),
        ("single", "normal", 1, 1),
        ("single", "overlap", 2, 3),
        ("consensus", "evaluation", 1, 1),
        ("single", "evaluation", 1, 1),
        ("consensus", "retest", 1, 1),
    ],
)
def test_the_preset_says_how_many_votes_a_pair_wants(
    project: Project, votes: str, kind: str, wanted: int, limit: int
) -> None:
    project.votes, project.overlap_share = votes, 0.0
    quota = Pair.quota(project, kind, key="k")
    assert (quota["wanted"], quota["limit"], quota["open_slots"]) == (wanted, limit, wanted)


def test_single_votes_get_the_asked_share_of_overlap(project: Project) -> None:
    project.votes, project.overlap_share = Project.Votes.SINGLE, 0.2
    kinds = [Pair.quota(project, "normal", key=f"k{i}")["kind"] for i in range(1000)]
    assert 160 <= kinds.count("overlap") <= 240
    assert kinds == [Pair.quota(project, "normal", key=f"k{i}")["kind"] for i in range(1000)]


def test_the_database_refuses_more_votes_than_asked_for(make_pairs: MakePairs) -> None:
    (pair,) = make_pairs(1)
    for columns in ({"open_slots": -1}, {"n_a": 1}, {"state": "resolved"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Pair.objects.filter(pk=pair.pk).update(**columns)
