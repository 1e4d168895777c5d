"""A new number of votes per pair, applied to pairs that are open, while people vote."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.utils import timezone

from annotate import queue
from annotate.models import Label, Pair, Project

MakePairs = Callable[..., list[Pair]]


def set_votes(project: Project, votes: str, **more: object) -> queue.Applied:
    project.votes, project.overlap_share = votes, 0.0
    for name, value in more.items():
        setattr(project, name, value)
    project.save()
    return queue.apply_quota(project, now=timezone.now())


def places(pair: Pair) -> tuple[str, int, int, int]:
    pair.refresh_from_db()
    return pair.state, pair.asked, pair.open_slots, pair.votes


def test_fewer_votes_settle_the_pairs_that_have_them(project, make_pairs, ann, ben):
    one, two = make_pairs(2)
    for person in (ann, ben):
        # Two people on one pair would settle it: each takes another one.
        lease = queue.next_pair(project, person)
        queue.vote(person, lease.token, choice="a")
    assert set_votes(project, "single") == (
        len([pair for pair in (one, two) if places(pair)[3] < 2]),
        len([pair for pair in (one, two) if places(pair)[3] == 1]),
    )
    for pair in (one, two):
        state, asked, open_slots, votes = places(pair)
        assert (state, open_slots) == (("resolved", 0) if votes else ("open", 1))
        assert asked == max(votes, 1)
    assert Label.objects.count() == sum(bool(places(pair)[3]) for pair in (one, two))


def test_more_votes_are_asked_of_open_pairs_and_not_of_settled_ones(project, make_pairs, ann):
    first, second = make_pairs(2)
    set_votes(project, "single")
    voted = queue.next_pair(project, ann)
    queue.vote(ann, voted.token, choice="a")
    applied = set_votes(project, "evaluation")
    other = second if voted.pair_id == first.pk else first
    assert applied == (1, 0)
    assert places(other) == ("open", 3, 3, 0)
    assert places(voted.pair) == ("resolved", 1, 0, 1)


def test_who_has_a_pair_on_the_screen_keeps_their_place(project, make_pairs, ann, ben):
    (pair,) = make_pairs(1)
    lease = queue.next_pair(project, ann)
    queue.vote(ben, queue.next_pair(project, ben).token, choice="b")
    assert set_votes(project, "single") == (1, 1)
    assert places(pair) == ("resolved", 2, 0, 1)
    assert queue.vote(ann, lease.token, choice="b").status == "stored"
    assert places(pair) == ("resolved", 2, 0, 2)


def test_the_same_again_changes_nothing_and_checks_are_left_alone(project, make_pairs):
    make_pairs(2)
    (gold,) = make_pairs(1, kind="gold")
    assert set_votes(project, "evaluation") == (2, 0)
    assert queue.apply_quota(project, now=timezone.now()) == (0, 0)
    assert places(gold)[1] == Pair.UNLIMITED


@pytest.mark.parametrize("preset", ["single", "consensus", "evaluation"])
def test_the_quota_becomes_that_of_a_new_pair_with_its_share_of_overlap(
    project, make_pairs, preset
):
    pairs = make_pairs(40)
    project.votes, project.overlap_share = preset, 0.5
    project.save()
    queue.apply_quota(project, now=timezone.now())
    for pair in pairs:
        pair.refresh_from_db()
        held_out = pair.prompt.held_out
        asked = Pair.quota(project, "normal", key=pair.key, held_out=held_out)
        asked.pop("shuffle")
        assert {name: getattr(pair, name) for name in asked} == asked
    kinds = {pair.kind for pair in pairs}
    assert kinds == ({"normal", "overlap"} if preset == "single" else {"normal"})


@pytest.mark.parametrize(("votes", "certain"), [("single", None), ("consensus", 0.9)])
def test_second_votes_that_were_wanted_stay_in_agreement_when_fewer_are(
    project, make_pairs, ann, ben, votes, certain
):
    (pair,) = make_pairs(1)
    for person, choice in ((ann, "a"), (ben, "b")):
        queue.vote(person, queue.next_pair(project, person).token, choice=choice)
    set_votes(project, votes, stop_when_certain=certain)
    pair.refresh_from_db()
    assert (pair.first, pair.second) == ("a", "b")


@pytest.mark.parametrize("before", [{"votes": "single"}, {"stop_when_certain": 0.9}])
@pytest.mark.parametrize("voted", [1, 2])
def test_second_votes_that_the_first_brought_about_stay_outside_when_more_are_wanted(
    project, make_pairs, ann, ben, cleo, before, voted
):
    set_votes(project, **{"votes": "consensus", **before})
    (pair,) = make_pairs(1, margin=5.0)
    people = [(ann, "b"), (ben, "a"), (cleo, "b")]
    for person, choice in people[:voted]:
        queue.vote(person, queue.next_pair(project, person).token, choice=choice)
    set_votes(project, "consensus", stop_when_certain=None)
    for person, choice in people[voted:]:
        queue.vote(person, queue.next_pair(project, person).token, choice=choice)
    state, *_, votes = places(pair)
    assert (state, votes, pair.first, pair.second) == ("resolved", 3, "b", "")
