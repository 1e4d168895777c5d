"""Adaptive: one vote resolves a pair, and what ranks pairs may have it asked again."""

from __future__ import annotations

import random

import pytest
from django.contrib.auth.models import User

from annotate import exchange, queue
from annotate.models import Label, Membership, Pair, Project, Prompt
from annotate.quality import agreement_counts, reliability
from tests.annotate.queue.test_votes_per_pair import MakePairs, cast, crew, outcome
from tests.conftest import make_pair


@pytest.fixture
def adaptive(project: Project) -> Project:
    project.votes, project.overlap_share = Project.Votes.ADAPTIVE, 0.0
    project.save()
    return project


def vote_in_turn(project: Project, pair: Pair, people: list[User], choices: str) -> None:
    """One vote after the other, each asked for again after the one before."""
    for user, choice in zip(people, choices, strict=False):
        exchange.ask_again(project, {pair.key})
        assert cast(project, user, choice)


@pytest.mark.parametrize(
    ("votes", "state"),
    [
        ("a", ("resolved", "a")),
        ("aa", ("resolved", "a")),
        ("ab", ("open", "")),
        ("abb", ("resolved", "b")),
    ],
)
def test_the_first_vote_resolves_and_a_second_that_differs_asks_a_third(
    adaptive: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs,
    votes: str, state: tuple[str, str],
) -> None:  # fmt: skip
    (pair,) = make_pairs(1, project=adaptive)
    vote_in_turn(adaptive, pair, [ann, ben, cleo], votes)
    assert outcome(pair) == state


def test_a_pair_that_is_asked_again_is_leased_by_the_active_arm_alone(
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    assert cast(adaptive, ann, "a")
    assert queue.next_pair(adaptive, ben) is None, "one vote is enough"
    exchange.ask_again(adaptive, {pair.key})
    exchange.set_priorities(adaptive, {pair.key: 3.0}, acquisition="bald")
    lease = queue.next_pair(adaptive, ben)
    assert lease is not None
    assert (lease.pair_id, lease.stream, lease.acquisition) == (pair.pk, "active", "bald")
    assert Pair.objects.get(pk=pair.pk).stream == "random", "its first lease was drawn"


def test_a_pair_that_is_no_longer_worth_it_has_its_label_again(
    adaptive: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    exchange.ask_again(adaptive, {pair.key})
    assert outcome(pair) == ("open", "") and not Label.objects.exists()
    exchange.ask_again(adaptive, set())
    assert outcome(pair) == ("resolved", "b")
    assert Pair.objects.get(pk=pair.pk).open_slots == 0


def test_a_second_lease_that_runs_out_leaves_the_first_vote_s_label(
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    exchange.ask_again(adaptive, {pair.key})
    lease = queue.next_pair(adaptive, ben)
    assert lease is not None
    exchange.ask_again(adaptive, set())
    assert outcome(pair) == ("open", ""), "it is on a screen"
    queue.skip(ben, lease.token)
    assert outcome(pair) == ("resolved", "b")


def test_only_pairs_with_one_vote_of_an_adaptive_project_are_asked_again(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=project)
    assert cast(project, ann, "a") and cast(project, ben, "a")
    assert exchange.may_be_asked_again(project) == set()
    assert queue.ask_again(project, {pair.key}) == 0
    assert outcome(pair) == ("resolved", "a")


def test_a_pair_of_a_held_out_prompt_is_never_asked_again(
    adaptive: Project, ann: User, make_pairs: MakePairs
) -> None:
    measures, other = make_pairs(2, project=adaptive)
    assert cast(adaptive, ann, "a") and cast(adaptive, ann, "a")
    Prompt.objects.filter(pk=measures.prompt_id).update(held_out=True)
    exchange.ask_again(adaptive, {measures.key, other.key})
    assert outcome(measures) == ("resolved", "a") and outcome(other) == ("open", "")


def test_a_chooser_that_seeks_disagreement_does_not_move_agreement_or_reliability(
    adaptive: Project,
) -> None:
    """Two people agree on four pairs of five. The chooser knows where they would not, and has
    second votes asked for on those alone; the overlap was drawn before any vote."""
    adaptive.overlap_share = 0.4
    adaptive.save()
    people, rng = crew(adaptive, 2), random.Random(4)
    pairs = [make_pair(adaptive, n) for n in range(100)]
    differ = {pair.pk for pair in pairs if rng.random() < 0.2}
    for user, other in ((people[0], "a"), (people[1], "b")):
        while lease := queue.next_pair(adaptive, user):
            queue.vote(user, lease.token, choice=other if lease.pair_id in differ else "a")
        wanted = Pair.objects.filter(pk__in=differ, project=adaptive)
        exchange.ask_again(adaptive, set(wanted.values_list("key", flat=True)))
    first_two = agreement_counts.measure(adaptive, stream="all")
    interval = first_two.agreement.intervals["raw"]
    assert interval is not None
    low, high = interval
    overlap = Pair.objects.filter(project=adaptive, kind=Pair.Kind.OVERLAP)
    assert first_two.agreement.pairs == overlap.count() > 25
    assert low <= 0.8 <= high
    chosen = Pair.objects.filter(project=adaptive, kind=Pair.Kind.NORMAL, n_a=1, n_b=1)
    assert chosen.count() > 5, "the chooser did what it wanted"
    reliability.refresh_labels(adaptive)
    known = Membership.objects.filter(project=adaptive, user__in=people)
    assert all(one.reliability is not None and one.reliability > 0.75 for one in known)
