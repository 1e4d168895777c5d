"""Which arm leases which pair."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from annotate import exchange, queue
from annotate.models import Assignment, Membership, Pair, Project
from annotate.models.content import completion_key, is_held_out

MakePairs = Callable[..., list[Pair]]


def lease(project: Project, user: User, **options: object) -> Assignment:
    given = queue.next_pair(project, user, **options)  # type: ignore[arg-type]
    assert given is not None
    return given


def leased(project: Project, user: User, n: int, *, seed: int = 0) -> list[Assignment]:
    """The next leases of a person who votes on each."""
    given, rng = [], random.Random(seed)
    for _ in range(n):
        given.append(lease(project, user, rng=rng))
        queue.vote(user, given[-1].token, choice="a")
    return given


@pytest.fixture
def ranked(project: Project, make_pairs: MakePairs) -> list[Pair]:
    """Imported pairs, the last of which teaches most."""
    pairs = make_pairs(60, source="import")
    priorities = {pair.key: float(i + 1) for i, pair in enumerate(pairs)}
    exchange.set_priorities(project, priorities, acquisition="fisher")
    return pairs


def test_an_imported_pair_that_teaches_most_is_leased_first_by_the_active_arm(
    project: Project, ann: User, ranked: list[Pair]
) -> None:
    project.random_share = 0.0
    given = lease(project, ann)
    assert given.pair == ranked[-1] and given.pair.arms == "both"
    assert (given.stream, given.propensity, given.acquisition) == ("active", 1.0, "fisher")
    assert Pair.objects.get(pk=given.pair_id).stream == "active"


def test_every_pair_is_leased_at_random_until_votes_have_ranked_some(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(40)
    project.random_share = 0.1
    given = leased(project, ann, 20)
    assert {(one.stream, one.propensity, one.acquisition) for one in given} == {("random", 1.0, "")}


def test_a_pair_tells_the_arm_of_its_first_lease_and_each_lease_its_own(
    project: Project, ann: User, ben: User, ranked: list[Pair]
) -> None:
    project.random_share = 0.0
    first = lease(project, ann)
    queue.vote(ann, first.token, choice="a")
    Pair.objects.exclude(pk=first.pair_id).update(open_slots=0, state="retired")
    Pair.objects.update(priority=0.0)
    again = lease(project, ben)
    assert again.pair == first.pair
    assert (first.stream, again.stream, again.pair.stream) == ("active", "random", "active")


def test_a_lease_that_ended_and_comes_back_in_another_arm_leaves_the_pair_its_first(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    first = lease(project, ann)
    queue.release_expired(project, now=first.expires_at + timedelta(seconds=1))
    exchange.set_priorities(project, {pair.key: 2.0}, acquisition="fisher")
    project.random_share = 0.0
    again = lease(project, ann)
    assert again.pk == first.pk
    assert (first.stream, again.stream, again.pair.stream) == ("random", "active", "random")


def test_checks_do_not_hide_among_comparisons_that_a_person_may_not_have(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1, kind="gold")
    make_pairs(3, kind="evaluation")
    project.gold_share = 1.0
    Membership.objects.filter(user=ben).update(evaluates=True)
    assert queue.next_pair(project, ann) is None
    assert lease(project, ben).pair.kind == "gold"
    make_pairs(1)
    assert lease(project, ann).pair.kind == "gold"


def test_pairs_that_measure_are_leased_at_random_alone_in_the_order_of_a_hash(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    measuring = make_pairs(6, arms="random", priority=9.0)
    make_pairs(20, priority=1.0)
    project.random_share = 0.5
    given = leased(project, ann, 26)
    of = {arm: [one.pair for one in given if one.stream == arm] for arm in ("random", "active")}
    assert not set(of["active"]) & set(measuring)
    drawn = [pair for pair in of["random"] if pair in measuring]
    assert drawn == sorted(measuring, key=lambda pair: pair.shuffle)


def test_a_pair_that_was_chosen_before_it_came_is_never_drawn(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(5, arms="active", priority=1.0)
    make_pairs(5)
    project.random_share = 0.5
    arms = Counter((one.pair.arms, one.stream) for one in leased(project, ann, 10))
    assert arms[("active", "active")] == 5 and arms[("both", "random")] == 5


def test_what_no_ranking_is_left_of_is_still_asked(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(2, arms="active", priority=0.0)
    assert [one.stream for one in leased(project, ann, 2)] == ["active", "active"]


@pytest.mark.parametrize(("share", "first"), [(1.0, 4), (0.0, 0)])
def test_comparisons_of_policies_have_a_share_of_their_own_and_go_first(
    project: Project, ann: User, make_pairs: MakePairs, share: float, first: int
) -> None:
    make_pairs(8)
    make_pairs(4, kind="evaluation")
    project.evaluation_share = share
    given = leased(project, ann, 12)
    assert [one.stream for one in given[:4]].count("evaluation") == first
    # Without a share they come once nothing else is left.
    assert sum(one.pair.kind == "evaluation" for one in given) == 4
    assert {one.pair.kind for one in given if one.stream == "evaluation"} == {"evaluation"}


def test_the_arms_of_a_new_pair_follow_from_its_prompt_and_from_how_it_was_found(
    project: Project,
) -> None:
    def arms(kind: str = "normal", **known: bool) -> str:
        return str(Pair.quota(project, kind, key="k", **known)["arms"])

    assert arms() == "both"
    assert arms(held_out=True) == "random"
    assert arms(chosen=True) == arms(chosen=True, held_out=True) == "active"
    assert (arms("evaluation"), arms("gold"), arms("retest")) == ("evaluation", "check", "check")
    project.votes, project.overlap_share = Project.Votes.SINGLE, 1.0
    assert Pair.quota(project, "normal", key="k")["kind"] == "overlap" and arms() == "random"
    # Chosen pairs are no sample of anything, so their agreement is none either.
    assert Pair.quota(project, "normal", key="k", chosen=True)["kind"] == "normal"


def test_training_hands_over_chosen_pairs_and_pairs_of_held_out_prompts(
    project: Project,
) -> None:
    chats = [[{"role": "user", "content": f"Question {i}"}] for i in range(20)]
    exchange.add_prompts(project, [{"messages": chat} for chat in chats])
    ids = [exchange.prompt_id(chat) for chat in chats]
    said = [{"prompt_id": one, "text": text, "policy": "new"} for one in ids for text in "xy"]
    exchange.add_completions(project, said, source="round-1", policy="policy-1")
    exchange.add_pairs(
        project,
        [
            {
                "key": one,
                "prompt_id": one,
                "completion_a": completion_key(one, "x"),
                "completion_b": completion_key(one, "y"),
                "stream": "random" if i % 2 else "active",
                "score": 0.0 if i % 2 else 1.0,
            }
            for i, one in enumerate(ids)
        ],
        source="round-1",
        policy="policy-1",
    )
    for i, one in enumerate(ids):
        drawn = "random" if is_held_out(one) else "both"
        assert project.pairs.get(key=one).arms == (drawn if i % 2 else "active")
    assert {is_held_out(one) for one in ids} == {True, False}


def test_the_random_arm_covers_what_the_active_arm_empties(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    """The mean over pairs that measure is that of the pool, whatever the other arm takes first."""
    pairs = make_pairs(120)
    for i, pair in enumerate(pairs):
        pair.priority = float(i + 1)  # the active arm seeks what lies high
        pair.arms = "random" if pair.shuffle * 997 % 1 < 0.35 else "both"
    Pair.objects.bulk_update(pairs, ["priority", "arms"])
    project.random_share = 0.3
    given = leased(project, ann, 80, seed=3)
    value = {pair.pk: i / 119 for i, pair in enumerate(pairs)}
    measured = [value[one.pair_id] for one in given if one.pair.arms == "random"]
    chosen = [value[one.pair_id] for one in given if one.stream == "active"]
    spread = (1 / 12 / len(measured)) ** 0.5
    assert len(measured) >= 10
    assert abs(sum(measured) / len(measured) - 0.5) < 2.6 * spread
    assert sum(chosen) / len(chosen) > 0.6
