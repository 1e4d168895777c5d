"""Who is flagged, warned and paused: planted faults are found, honest people are left alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from django.utils import timezone

from annotate import queue, standing
from annotate.annotators import Share
from annotate.doubt import DOUBTFUL, Meetings, doubts
from annotate.models import Assignment, Gold, Membership, Message, Pair

PEOPLE = 8
CASTS = 20


def cast(seed, fault=None):
    """Sixty votes each on hard and easy pairs; person 0 may have a fault.

    Returns the meetings, and each person's left picks.
    """
    rng = np.random.default_rng(seed)
    reliability = rng.uniform(0.75, 1.3, PEOPLE)
    n, same, left, decided = Counter(), Counter(), Counter(), Counter()
    for _ in range(PEOPLE * 30):
        ease, votes = rng.normal(0, 2.6), []
        who = rng.choice(PEOPLE, 2, replace=False).tolist()
        for person in who:
            felt = reliability[person] * ease + rng.logistic()
            side = rng.choice((-1, 1))
            vote = 0 if abs(felt) < 0.4 else int(np.sign(felt))
            sure = 0 if not vote else 1 + int(abs(felt) > 1.5) + int(abs(felt) > 4)
            if person == 0 and fault:
                vote = {"liar": -vote, "left": side, "random": rng.choice((-1, 1))}[fault]
            votes.append((vote, sure if vote else 0))
            left[person] += vote == side
            decided[person] += vote != 0
        for me, you in ((0, 1), (1, 0)):
            key = who[me], who[you], votes[you][1]
            n[key] += 1
            same[key] += votes[me][0] == votes[you][0]
    met = [Meetings(*key, n[key], same[key]) for key in sorted(n)]
    return met, {person: Share(left[person], decided[person]) for person in range(PEOPLE)}


def flagged(seed, fault=None):
    met, left = cast(seed, fault)
    agreeing = {who for who, doubt in doubts(met).items() if doubt < DOUBTFUL}
    return agreeing | {who for who in left if standing._leaning(left[who]) < standing.ONE_SIDED}


@pytest.mark.parametrize("fault", ["liar", "left", "random"])
def test_a_planted_fault_is_found_within_sixty_votes_and_nobody_is_blamed_for_it(fault):
    found = [flagged(seed, fault) for seed in range(CASTS)]
    assert sum(0 in who for who in found) >= 19
    honest = sum(len(who - {0}) for who in found)
    assert honest <= 0.05 * CASTS * (PEOPLE - 1)


def test_at_most_one_honest_person_in_twenty_is_flagged():
    assert sum(len(flagged(seed)) for seed in range(100, 140)) <= 0.05 * 40 * PEOPLE


def test_two_people_who_disagree_cannot_tell_who_is_wrong():
    assert doubts([Meetings(1, 2, 2, 60, 5), Meetings(2, 1, 2, 60, 5)]) == {}
    assert doubts([]) == {}


def answered(project, make_pairs, user, right, wrong):
    """So many gold pairs answered; the member is reviewed after each, as after a vote."""
    member = Membership.objects.get(user=user)
    now = timezone.now()
    for i, pair in enumerate(make_pairs(right + wrong, kind="gold", stream="check")):
        Gold.objects.create(pair=pair, expected="a")
        Assignment.objects.create(
            pair=pair, annotator=user, state="voted", choice="b" if i < wrong else "a",
            left="a", seq=1, leased_at=now, voted_at=now, acted_at=now,
        )  # fmt: skip
        member.refresh_from_db()
        standing.review(member)
    member.refresh_from_db()
    return member


def test_a_warning_comes_once_from_five_gold_pairs_on(project, make_pairs, ann):
    assert answered(project, make_pairs, ann, 0, 4).warned_at is None
    member = answered(project, make_pairs, ann, 0, 3)
    assert member.warned_at is not None and member.paused_at is None
    assert [m.text for m in Message.objects.filter(member=member)] == [standing.WARNING]
    assert "gold" not in standing.WARNING + standing.PAUSED


def test_a_pause_needs_twenty_gold_pairs_and_happens_once(project, make_pairs, ann):
    assert answered(project, make_pairs, ann, 0, 19).paused_at is None
    member = answered(project, make_pairs, ann, 0, 1)
    assert member.paused_at is not None and member.paused_because == standing.PAUSED
    # An admin lets them go on: that is a person's decision, and it stands.
    Membership.objects.filter(pk=member.pk).update(paused_at=None, paused_because="")
    assert answered(project, make_pairs, ann, 0, 2).paused_at is None


@pytest.mark.parametrize("column", ["auto_pause", "train_on_simulated"])
def test_nobody_is_paused_where_the_project_says_so(project, make_pairs, ann, column):
    setattr(project, column, column == "train_on_simulated")
    project.save()
    assert answered(project, make_pairs, ann, 0, 25).paused_at is None


def test_of_twenty_honest_casts_at_most_one_person_is_ever_paused():
    rng = np.random.default_rng(7)
    paused = 0
    for _ in range(CASTS):
        for ability in rng.uniform(0.7, 0.9, PEOPLE):
            hits = np.cumsum(rng.random(60) < ability)
            paused += any(
                standing._certainly_below(Share(int(hits[n - 1]), n), 0.6, after=20)
                for n in range(20, 61)
            )
    assert paused <= 1


def test_a_vote_on_a_gold_pair_is_reviewed(project, make_pairs, ann):
    make_pairs(5)
    for _ in range(5):
        lease = queue.next_pair(project, ann)
        Pair.objects.filter(pk=lease.pair_id).update(kind="gold", stream="check")
        Gold.objects.create(pair_id=lease.pair_id, expected="a")
        queue.vote(ann, lease.token, choice="b")
    assert Membership.objects.get(user=ann).warned_at is not None
