"""Voting: what a vote stores, and what the pair's counts decide."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from annotate import queue
from annotate.models import Assignment, Label, Membership, Pair, Project
from tests.conftest import person

MakePairs = Callable[..., list[Pair]]


@pytest.fixture
def vote(project: Project) -> Callable[..., queue.VoteResult]:
    """vote(user, choice): lease whatever comes next and vote on it."""

    def cast(user: User, choice: str, **options: object) -> queue.VoteResult:
        assignment = queue.next_pair(project, user)
        assert assignment is not None
        return queue.vote(user, assignment.token, choice=choice, **options)  # type: ignore[arg-type]

    return cast


Vote = Callable[..., queue.VoteResult]


def crowd(project: Project, n: int) -> list[User]:
    return [person(f"p{i}", project=project, role="annotator") for i in range(n)]


def test_a_vote_is_stored_as_it_was_cast(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    leased = queue.next_pair(project, ann)
    assert leased is not None
    cast = queue.vote(
        ann,
        leased.token,
        choice="b",
        strength=3,
        reasons=["rude"],
        comment="A is rude.",
        active_ms=1234,
    )
    stored = Assignment.objects.get(pk=leased.pk)
    assert cast.status == "stored"
    assert (stored.state, stored.choice, stored.strength) == ("voted", "b", 3)
    assert (stored.reasons, stored.comment, stored.active_ms) == (["rude"], "A is rude.", 1234)
    assert (stored.seq, stored.surplus, stored.guideline_version) == (1, False, 1)
    assert stored.voted_at is not None and stored.expires_at is None


@pytest.mark.parametrize("left", ["a", "b"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_side_becomes_a_choice_about_the_completions(
    project: Project, ann: User, make_pairs: MakePairs, left: str, side: str
) -> None:
    make_pairs(1)
    leased = queue.next_pair(project, ann)
    assert leased is not None
    Assignment.objects.update(left=left)
    queue.vote_side(ann, leased.token, side)
    leased.refresh_from_db()
    assert leased.choice == (left if side == "left" else {"a": "b", "b": "a"}[left])


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_strength_means_nothing_for_a_tie(
    make_pairs: MakePairs, vote: Vote, ann: User, choice: str
) -> None:
    make_pairs(1)
    assert vote(ann, choice, strength=3).assignment.strength == 0


@pytest.mark.parametrize(
    ("choices", "state", "outcome"),
    [
        (["a", "a"], "resolved", "a"),
        (["b", "b"], "resolved", "b"),
        (["tie", "both_bad"], "resolved", "tie"),
        (["a", "b", "a"], "resolved", "a"),
        (["a", "b", "b"], "resolved", "b"),
        (["a", "tie", "both_bad"], "resolved", "tie"),
        (["a", "b", "tie"], "adjudicate", "split"),
    ],
)
def test_two_equal_votes_resolve_and_three_different_ones_go_to_adjudication(
    project: Project,
    make_pairs: MakePairs,
    vote: Vote,
    choices: list[str],
    state: str,
    outcome: str,
) -> None:
    (pair,) = make_pairs(1)
    people = crowd(project, 4)
    for user, choice in zip(people, choices, strict=False):
        vote(user, choice)
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots, pair.votes) == (state, 0, len(choices))
    assert pair.label.outcome == outcome and pair.resolved_at is not None
    assert queue.next_pair(project, people[3]) is None


def test_a_disagreement_asks_for_exactly_one_more_vote(
    project: Project, make_pairs: MakePairs, vote: Vote
) -> None:
    (pair,) = make_pairs(1)
    people = crowd(project, 4)
    vote(people[0], "a")
    vote(people[1], "b")
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots, pair.asked) == ("open", 1, 3)
    assert queue.next_pair(project, people[2]) is not None
    assert queue.next_pair(project, people[3]) is None
    assert not Label.objects.exists()


def test_strength_never_decides(project: Project, make_pairs: MakePairs, vote: Vote) -> None:
    (pair,) = make_pairs(1)
    people = crowd(project, 2)
    vote(people[0], "a", strength=1)
    vote(people[1], "a", strength=3)
    pair.refresh_from_db()
    assert pair.state == "resolved"
    assert pair.label.vote_fraction == 1.0 and pair.label.margin == pytest.approx(2 / 3)


def test_one_vote_resolves_a_pair_of_a_single_vote_project(
    project: Project, make_pairs: MakePairs, vote: Vote, ann: User, ben: User
) -> None:
    Project.objects.update(votes=Project.Votes.SINGLE, overlap_share=0.0)
    project.refresh_from_db()
    (pair,) = make_pairs(1)
    vote(ann, "b")
    pair.refresh_from_db()
    assert pair.state == "resolved" and queue.next_pair(project, ben) is None


def test_an_evaluation_pair_takes_one_vote_whatever_the_project_asks_of_others(
    project: Project, make_pairs: MakePairs, vote: Vote, ann: User, ben: User
) -> None:
    (pair,) = make_pairs(1, kind="evaluation")
    vote(ann, "a")
    pair.refresh_from_db()
    assert (pair.state, pair.votes) == ("resolved", 1)
    assert queue.next_pair(project, ben) is None


@pytest.mark.parametrize(("kind", "state"), [("gold", "open"), ("retest", "resolved")])
def test_pairs_that_measure_annotators_never_have_a_label(
    project: Project, make_pairs: MakePairs, vote: Vote, kind: str, state: str
) -> None:
    # As an ordinary pair: a check comes only beside others, which would have labels.
    (pair,) = make_pairs(1, kind=kind, arms="both")
    for user in crowd(project, min(pair.wanted, 5)):
        vote(user, "a")
    pair.refresh_from_db()
    assert pair.state == state
    assert not Label.objects.exists()


def test_a_retest_is_offered_to_its_person_alone(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    (pair,) = make_pairs(1, kind="retest", only_for=ann, arms="both")
    assert queue.next_pair(project, ben) is None
    offered = queue.next_pair(project, ann)
    assert offered is not None and offered.pair == pair


def test_the_same_vote_again_is_replayed(make_pairs: MakePairs, vote: Vote, ann: User) -> None:
    (pair,) = make_pairs(1)
    first = vote(ann, "a", strength=3)
    again = queue.vote(ann, first.assignment.token, choice="a", strength=3)
    pair.refresh_from_db()
    assert again.status == "replayed" and pair.n_a == 1 and pair.cast == 1


@pytest.mark.parametrize(("choice", "strength"), [("b", 2), ("tie", 2), ("a", 3)])
def test_another_vote_for_the_same_token_is_a_conflict(
    make_pairs: MakePairs, vote: Vote, ann: User, choice: str, strength: int
) -> None:
    (pair,) = make_pairs(1)
    first = vote(ann, "a")
    with pytest.raises(queue.ChoiceConflict):
        queue.vote(ann, first.assignment.token, choice=choice, strength=strength)
    pair.refresh_from_db()
    assert (pair.n_a, pair.votes) == (1, 1)


def test_an_unknown_or_foreign_token_is_unknown(
    project: Project, make_pairs: MakePairs, ann: User, ben: User
) -> None:
    make_pairs(1)
    leased = queue.next_pair(project, ann)
    assert leased is not None
    for user, token in ((ben, leased.token), (ann, uuid.uuid4())):
        with pytest.raises(queue.UnknownAssignment):
            queue.vote(user, token, choice="a")
        with pytest.raises(queue.UnknownAssignment):
            queue.vote_side(user, token, "left")


def test_a_former_member_cannot_vote(project: Project, make_pairs: MakePairs, ann: User) -> None:
    make_pairs(1)
    leased = queue.next_pair(project, ann)
    assert leased is not None
    Membership.objects.filter(user=ann).update(active=False)
    with pytest.raises(queue.UnknownAssignment):
        queue.vote(ann, leased.token, choice="a")


@pytest.mark.parametrize(("choice", "strength"), [("left", 2), ("", 2), ("a", 4), ("a", -1)])
def test_a_vote_outside_the_scale_is_refused(
    project: Project, make_pairs: MakePairs, ann: User, choice: str, strength: int
) -> None:
    make_pairs(1)
    leased = queue.next_pair(project, ann)
    assert leased is not None
    with pytest.raises(ValueError, match="must be"):
        queue.vote(ann, leased.token, choice=choice, strength=strength)


def test_votes_are_numbered_in_the_order_they_were_cast(
    project: Project, make_pairs: MakePairs, vote: Vote
) -> None:
    make_pairs(1)
    people = crowd(project, 3)
    for user, choice in zip(people, ["a", "b", "b"], strict=True):
        vote(user, choice)
    cast = Assignment.objects.order_by("seq").values_list("annotator__username", "seq")
    assert list(cast) == [("p0", 1), ("p1", 2), ("p2", 3)]
