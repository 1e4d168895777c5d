"""Who is flagged, warned and paused: planted faults are found, honest people are left alone."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate import queue
from annotate.models import Assignment, Gold, Membership, Message, Pair
from annotate.people import warnings_and_pauses
from annotate.people.annotator_figures import Share
from annotate.queue import slots
from annotate.statistics.low_agreement import DOUBTFUL, Meetings, doubts

PEOPLE = 8
CASTS = 20
FAULTS = ("liar", "left", "random")


def cast(seed, fault=None):
    """Sixty votes each on hard and easy pairs; person 0 may have a fault.

    Per pair two votes (person, 1 for A, 0 or -1, strength, 1 for A on the left or -1).
    """
    rng = np.random.default_rng(seed)
    reliability = rng.uniform(0.75, 1.3, PEOPLE)
    pairs = []
    for _ in range(PEOPLE * 30):
        ease, votes = rng.normal(0, 2.6), []
        for person in rng.choice(PEOPLE, 2, replace=False).tolist():
            felt = reliability[person] * ease + rng.logistic()
            side = int(rng.choice((-1, 1)))
            vote = 0 if abs(felt) < 0.4 else int(np.sign(felt))
            sure = 0 if not vote else 1 + int(abs(felt) > 1.5) + int(abs(felt) > 4)
            if person == 0 and fault:
                vote = {"liar": -vote, "left": side, "random": rng.choice((-1, 1))}[fault]
            votes.append((person, int(vote), sure if vote else 0, side))
        pairs.append(votes)
    return pairs


def flagged(seed, fault=None):
    """Who is flagged, by the rules alone."""
    met, left, decided = Counter(), Counter(), Counter()
    for votes in cast(seed, fault):
        for (me, vote, _, side), (you, other, sure, _) in (votes, votes[::-1]):
            met[me, you, sure, vote == other] += 1
            left[me] += vote == side
            decided[me] += vote != 0
    rows = [Meetings(*who, n, n if same else 0) for (*who, same), n in sorted(met.items())]
    found = {who for who, doubt in doubts(rows).items() if doubt < DOUBTFUL}
    shares = {who: Share(left[who], decided[who]) for who in range(PEOPLE)}
    return found | {who for who, share in shares.items() if warnings_and_pauses.one_sided(share)}


def flagged_on_the_page(project, make_pairs, seed, fault=None):
    """Who is flagged in the table of annotators after these votes."""
    people = [User.objects.create(username=f"{seed}-{fault}-{i}") for i in range(PEOPLE)]
    for i, user in enumerate(people):
        Membership.objects.create(project=project, user=user, pseudonym=f"cast-{i}")
    now, names = timezone.now(), {1: "a", 0: "tie", -1: "b"}
    pairs = cast(seed, fault)
    made = make_pairs(len(pairs))
    Assignment.objects.bulk_create(
        Assignment(
            pair=pair, annotator=people[who], state="voted", choice=names[vote], strength=sure,
            left=names[side], stream="random", seq=seq, leased_at=now, voted_at=now, acted_at=now,
        )
        for pair, votes in zip(made, pairs, strict=True)
        for seq, (who, vote, sure, side) in enumerate(votes, start=1)
    )  # fmt: skip
    for pair in made:
        slots.recount_first_two(pair.pk)
    client = Client()
    client.force_login(User.objects.create_superuser(f"root-{seed}-{fault}"))
    page = client.get(f"/projects/{project.slug}/annotators/").text
    lines = re.findall(r">cast-(\d)<.*?</th>", page, re.DOTALL)
    assert sorted(map(int, lines)) == list(range(PEOPLE))
    return {
        int(found[1])
        for found in re.finditer(r">cast-(\d)<(.*?)</th>", page, re.DOTALL)
        if "chip-bad" in found[2]
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_within_sixty_votes_and_nobody_is_blamed_for_it(fault):
    found = [flagged(seed, fault) for seed in range(CASTS)]
    assert sum(0 in who for who in found) >= 19
    honest = sum(len(who - {0}) for who in found)
    assert honest <= 0.05 * CASTS * (PEOPLE - 1)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found_in_nine_of_ten_of_two_hundred_more_casts(fault):
    found = [flagged(seed, fault) for seed in range(1000, 1200)]
    assert sum(0 in who for who in found) >= 180
    assert sum(len(who - {0}) for who in found) <= 0.05 * 200 * (PEOPLE - 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_page_flags_the_planted_fault(project, make_pairs, fault):
    found = flagged_on_the_page(project, make_pairs, 0, fault)
    assert 0 in found
    assert found == flagged(0, fault)


def test_at_most_one_honest_person_in_twenty_is_flagged():
    assert sum(len(flagged(seed)) for seed in range(100, 140)) <= 0.05 * 40 * PEOPLE


def test_two_people_who_disagree_cannot_tell_who_is_wrong():
    assert doubts([Meetings(1, 2, 2, 60, 5), Meetings(2, 1, 2, 60, 5)]) == {}
    assert doubts([]) == {}


def answered(make_pairs, user, right, wrong):
    """So many gold pairs answered, the wrong ones first; each vote is reviewed."""
    member = Membership.objects.get(user=user)
    for i, pair in enumerate(make_pairs(right + wrong, kind="gold", stream="check")):
        Gold.objects.create(pair=pair, expected="a")
        now = timezone.now()
        vote = Assignment.objects.create(
            pair=pair, annotator=user, state="voted", choice="b" if i < wrong else "a",
            left="a", stream="check", seq=1, leased_at=now, voted_at=now, acted_at=now,
        )  # fmt: skip
        warnings_and_pauses.review(vote)
    member.refresh_from_db()
    return member


def test_a_warning_comes_once_from_five_gold_pairs_on(make_pairs, ann):
    assert answered(make_pairs, ann, 0, 4).warned_at is None
    member = answered(make_pairs, ann, 0, 3)
    assert member.warned_at is not None and member.paused_at is None
    assert [m.text for m in Message.objects.filter(member=member)] == [warnings_and_pauses.WARNING]
    assert "gold" not in warnings_and_pauses.WARNING + warnings_and_pauses.PAUSED


def test_a_pause_needs_twenty_gold_pairs(make_pairs, ann):
    assert answered(make_pairs, ann, 0, 19).paused_at is None
    member = answered(make_pairs, ann, 0, 1)
    assert member.paused_at is not None and member.paused_because == warnings_and_pauses.PAUSED


def test_after_a_pause_is_lifted_the_rules_begin_anew(client_for, make_pairs, ann, zed):
    member = answered(make_pairs, ann, 0, 20)
    change = f"/projects/desk/annotators/{member.pk}/change/"
    client_for(zed).post(change, {"resume": "yes"})
    member = answered(make_pairs, ann, 0, 4)
    assert member.paused_at is None and member.warned_at is None
    assert answered(make_pairs, ann, 0, 1).warned_at is not None
    assert answered(make_pairs, ann, 0, 14).paused_at is None
    assert answered(make_pairs, ann, 0, 1).paused_at is not None
    sent = Message.objects.filter(member=member).order_by("pk").values_list("text", flat=True)
    assert list(sent) == [warnings_and_pauses.WARNING, warnings_and_pauses.PAUSED] * 2


def test_who_does_better_after_a_pause_is_not_held_to_the_time_before(
    client_for, make_pairs, ann, zed
):
    member = answered(make_pairs, ann, 0, 20)
    client_for(zed).post(f"/projects/desk/annotators/{member.pk}/change/", {"resume": "yes"})
    member = answered(make_pairs, ann, 20, 5)
    assert member.paused_at is None


@pytest.mark.parametrize("column", ["auto_pause", "train_on_simulated"])
def test_nobody_is_paused_where_the_project_says_so(project, make_pairs, ann, column):
    setattr(project, column, column == "train_on_simulated")
    project.save()
    assert answered(make_pairs, ann, 0, 25).paused_at is None


def pauses(seed, low=0.7, high=0.9):
    """How many pauses twenty honest casts see in sixty gold pairs each, if every one is lifted."""
    rng, paused = np.random.default_rng(seed), 0
    for ability in rng.uniform(low, high, CASTS * PEOPLE):
        hits = n = 0
        for right in rng.random(60) < ability:
            hits, n = hits + int(right), n + 1
            if warnings_and_pauses.paused_by(Share(hits, n), 0.6):
                paused, hits, n = paused + 1, 0, 0
    return paused


def test_of_twenty_honest_casts_at_most_one_person_is_ever_paused():
    assert max(pauses(seed) for seed in range(3)) <= 1


@pytest.mark.long
def test_honest_people_are_paused_less_often_than_one_cast_in_twenty():
    assert sum(pauses(seed) for seed in range(100, 150)) <= 50


def test_who_is_mostly_wrong_is_paused():
    assert pauses(1, 0.2, 0.3) >= 0.95 * CASTS * PEOPLE


def test_a_vote_on_a_gold_pair_is_reviewed(project, make_pairs, ann):
    make_pairs(5)
    for _ in range(5):
        lease = queue.next_pair(project, ann)
        Pair.objects.filter(pk=lease.pair_id).update(kind="gold", stream="check")
        Gold.objects.create(pair_id=lease.pair_id, expected="a")
        queue.vote(ann, lease.token, choice="b")
    assert Membership.objects.get(user=ann).warned_at is not None
