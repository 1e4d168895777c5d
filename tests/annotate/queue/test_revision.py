"""Changing an earlier vote in place: counts, places, label and dataset versions follow."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate import exchange, queue
from annotate.models import Adjudication, Assignment, Label, Pair, Project, VoteRevision
from annotate.votes import dataset_versions, labels
from tests.annotate.queue.test_queue import lease
from tests.conftest import examples, make_pair, person

MakePairs = Callable[..., list[Pair]]
State = Pair.State


def cast(project: Project, user: User, choice: str) -> Assignment:
    return queue.vote(user, lease(project, user).token, choice=choice).assignment


def test_a_revised_vote_moves_its_count_and_keeps_its_number(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    first, _ = cast(project, ann, "a"), cast(project, ben, "a")
    other = "right" if first.left == "a" else "left"
    assert queue.revise(ann, first.token, side=other, strength=3).status == "stored"
    pair.refresh_from_db()
    assert (pair.n_a, pair.n_b, pair.state) == (1, 1, State.OPEN)
    assert (pair.open_slots, pair.asked) == (1, 3)
    assert not Label.objects.exists()
    first.refresh_from_db()
    assert (first.choice, first.strength, first.seq) == ("b", 3, 1)


def test_a_revision_that_makes_two_agree_withdraws_the_third_place(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    cast(project, ann, "a")
    second = cast(project, ben, "b")
    wanted = "left" if second.left == "a" else "right"
    queue.revise(ben, second.token, side=wanted, strength=1)
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots, pair.asked) == (State.RESOLVED, 0, 2)
    assert Label.objects.get().outcome == "a"


def test_another_strength_alone_changes_the_labels_margin(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    first, _ = cast(project, ann, "a"), cast(project, ben, "a")
    side = "left" if first.left == "a" else "right"
    queue.revise(ann, first.token, side=side, strength=0)
    assert Label.objects.get().margin == pytest.approx(1 / 3)


def test_repeating_a_revision_changes_nothing(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    own = cast(project, ann, "tie")
    exchange.freeze(project)
    assert queue.revise(ann, own.token, side="tie", strength=3).status == "replayed"
    assert not VoteRevision.objects.exists()
    statuses = [queue.revise(ann, own.token, side="left").status for _ in range(2)]
    assert statuses == ["stored", "replayed"]
    assert VoteRevision.objects.count() == 1


def test_an_extra_vote_is_revised_without_being_counted(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    late = lease(project, cleo)
    Assignment.objects.filter(pk=late.pk).update(expires_at=late.leased_at)
    queue.release_expired(project)
    for user in (ann, ben):
        cast(project, user, "a")
    assert queue.vote(cleo, late.token, choice="b").status == "surplus"
    assert queue.revise(cleo, late.token, side="tie").status == "surplus"
    pair.refresh_from_db()
    assert (pair.n_a, pair.n_b, pair.n_tie) == (2, 0, 0)


def test_what_a_reviewer_decided_is_not_reopened(
    project: Project, ann: User, olga: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    own = cast(project, ann, "a")
    Adjudication.objects.create(pair=pair, reviewer=olga, choice="a", category="ambiguous")
    for change in (
        lambda: queue.revise(ann, own.token, side="tie"),
        lambda: queue.undo(ann, project),
    ):
        with pytest.raises(queue.Gone, match="reviewer"):
            change()
    own.refresh_from_db()
    assert (own.state, own.choice) == ("voted", "a")


def test_only_ones_own_standing_vote_is_revised(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    token = lease(project, ann).token
    with pytest.raises(queue.Gone):
        queue.revise(ann, token, side="left")
    with pytest.raises(queue.UnknownAssignment):
        queue.revise(ben, token, side="left")


def test_five_votes_are_taken_back_one_by_one_whatever_was_revised(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(6)
    own = [cast(project, ann, "a") for _ in range(6)]
    queue.revise(ann, own[0].token, side="tie")
    taken = [queue.undo(ann, project) for _ in range(5)]
    assert [one.token for one in taken if one] == [one.token for one in reversed(own[1:])]
    assert Assignment.objects.get(state="voted").choice == "tie"


ACTS = ("vote", "vote", "vote", "undo", "revise", "skip", "reason", "flag", "remark", "freeze")
REASONS = ("", "hard", "broken", "identical", "unsafe", "my own words")
Step = tuple[str, int, int, str, str]
steps = st.lists(
    st.tuples(
        st.sampled_from(ACTS),
        st.integers(0, 2),
        st.integers(0, 5),
        st.sampled_from(["left", "right", "tie", "both_bad"]),
        st.sampled_from(REASONS),
    ),
    min_size=10,
    max_size=40,
)


def perform(
    project: Project, user: User, act: str, pick: int, side: str, reason: str, rng: random.Random
) -> None:
    own = list(Assignment.objects.filter(annotator=user).order_by("pk"))
    token = own[pick % len(own)].token if own else None
    if act in ("vote", "skip"):
        leased = queue.next_pair(project, user, rng=rng)
        if leased and act == "vote":
            queue.vote_side(user, leased.token, side, strength=pick % 4)
        elif leased:
            queue.skip(user, leased.token, reason=reason)
    elif act == "undo":
        queue.undo(user, project)
    elif act == "freeze":
        exchange.freeze(project)
    elif token and act == "revise":
        queue.revise(user, token, side=side, strength=pick % 4)
    elif token and act == "reason":
        queue.skip_reason(user, token, reason)
    elif token and act == "flag":
        queue.flag(user, token, "unsafe")
    elif token:
        queue.remark(user, token, comment=reason)


def check(pair: Pair) -> None:
    """The pair's columns say what a recount of its assignments says."""
    places = Assignment.objects.filter(pair=pair)
    votes = list(places.standing().order_by("seq").values_list("choice", "strength"))
    counts = Counter(labels.CLASS[choice] for choice, _ in votes)
    assert (pair.n_a, pair.n_b, pair.n_tie) == (counts["a"], counts["b"], counts["tie"])
    firsts = [labels.CLASS[choice] for choice, _ in votes[:2]]
    assert [found for found in (pair.first, pair.second) if found] == firsts
    held = places.leased().filter(surplus=False).count()
    assert pair.asked == len(votes) + held + pair.open_slots <= pair.limit
    balance = Counter(
        places.filter(state__in=("voted", "reserved"), surplus=False).values_list("left", flat=True)
    )
    assert pair.left_balance == balance["a"] - balance["b"]
    label = Label.objects.filter(pair=pair).first()
    found = labels.verdict(votes) if pair.state != State.OPEN else None
    assert (label is None) == (found is None)
    if label and found:
        assert label.outcome == found.outcome
        assert label.margin == pytest.approx(found.margin)


def live(steps: list[Step], salt: int) -> None:
    """Go through the steps, and look at everything after each of them."""
    name = f"order-{Project.objects.count()}"
    project = Project.objects.create(slug=name, name=name)
    people = [person(f"{name}-{i}", project=project, role="annotator") for i in range(3)]
    for i in range(2):
        make_pair(project, i)
    rng = random.Random(salt)
    held: dict[int, list[tuple[object, ...]]] = {}
    for act, who, pick, side, reason in steps:
        with contextlib.suppress(queue.Gone):
            perform(project, people[who], act, pick, side, reason, rng)
        for version in project.dataset_versions.all():
            rows = list(dataset_versions.votes_in(version, include_simulated=True))
            assert held.setdefault(version.number, rows) == rows
        for pair in project.pairs.all():
            check(pair)


QUICK = settings(
    max_examples=examples(14), deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@QUICK
@given(steps=steps, salt=st.integers(0, 2**20))
@pytest.mark.django_db
def test_any_order_of_acts_leaves_counts_equal_to_a_recount_and_versions_as_they_were(
    steps: list[Step], salt: int
) -> None:
    live(steps, salt)


@pytest.mark.long
@settings(QUICK, max_examples=300)
@given(steps=steps, salt=st.integers(0, 2**20))
@pytest.mark.django_db
def test_three_hundred_orders_of_acts_do_so(steps: list[Step], salt: int) -> None:
    live(steps, salt)
