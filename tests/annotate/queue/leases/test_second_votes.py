"""Adaptive: one vote resolves a pair, and what ranks pairs may have it asked again."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate import exchange, queue
from annotate.models import Label, Membership, Pair, Project, Prompt, Webhook
from annotate.quality import agreement_counts, reliability
from tests.annotate.queue.test_votes_per_pair import MakePairs, cast, crew, outcome
from tests.annotate.views.test_projects_page import settings_of
from tests.conftest import make_pair

ClientFor = Callable[[User], Client]


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


def test_a_pair_that_is_asked_again_keeps_its_label_until_two_votes_differ(
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    label = Label.objects.get()
    exchange.ask_again(adaptive, {pair.key})
    assert outcome(pair) == ("open", "b")
    assert exchange.resolved_since(adaptive, None) == 1, "it teaches what it taught"
    exchange.ask_again(adaptive, set())
    assert outcome(pair) == ("resolved", "b")
    assert Label.objects.get().updated_at == label.updated_at
    assert Pair.objects.get(pk=pair.pk).open_slots == 0
    exchange.ask_again(adaptive, {pair.key})
    cast(adaptive, ben, "a")
    assert outcome(pair) == ("open", "")


def test_nothing_is_asked_again_where_nobody_is_left_to_answer(
    adaptive: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    others = Membership.objects.filter(project=adaptive).exclude(user=ann)
    others.update(active=False)
    exchange.ask_again(adaptive, {pair.key})
    assert outcome(pair) == ("resolved", "b")
    others.update(active=True)
    exchange.ask_again(adaptive, {pair.key})
    assert outcome(pair) == ("open", "b")


def test_another_preset_takes_back_what_was_asked_again(
    adaptive: Project, ann: User, zed: User, client_for: ClientFor, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    exchange.ask_again(adaptive, {pair.key})
    client_for(zed).post("/projects/desk/settings/", settings_of(adaptive, votes="single"))
    assert Project.objects.get(pk=adaptive.pk).votes == "single"
    assert outcome(pair) == ("resolved", "b")


def test_two_votes_that_differ_are_no_label_under_a_preset_of_two_at_most(
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    vote_in_turn(adaptive, pair, [ann, ben], "ab")
    adaptive.votes = Project.Votes.SINGLE
    adaptive.save()
    queue.apply_quota(adaptive, now=timezone.now())
    assert outcome(pair)[0] != "resolved"


def test_others_are_told_of_a_vote_and_never_of_a_place_that_closed(
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    hook = Webhook.objects.create(
        project=adaptive, url="https://hooks.example/in", events=["pair.resolved"]
    )
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    assert hook.deliveries.count() == 1
    exchange.ask_again(adaptive, {pair.key})
    lease = queue.next_pair(adaptive, ben)
    assert lease is not None
    queue.skip(ben, lease.token)
    assert outcome(pair) == ("resolved", "b") and hook.deliveries.count() == 1


def test_a_second_lease_that_runs_out_leaves_the_first_vote_s_label(
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1, project=adaptive)
    cast(adaptive, ann, "b")
    exchange.ask_again(adaptive, {pair.key})
    lease = queue.next_pair(adaptive, ben)
    assert lease is not None
    exchange.ask_again(adaptive, set())
    assert outcome(pair) == ("open", "b"), "it is on a screen"
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
    adaptive: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    measures, other = make_pairs(2, project=adaptive)
    assert cast(adaptive, ann, "a") and cast(adaptive, ann, "a")
    Prompt.objects.filter(pk=measures.prompt_id).update(held_out=True)
    exchange.ask_again(adaptive, {measures.key, other.key})
    assert outcome(measures) == ("resolved", "a") and outcome(other) == ("open", "a")


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
