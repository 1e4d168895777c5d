"""Many people at once. Real threads, each with its own connection."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db.models import Count, F, Sum
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import Assignment, Gold, Label, Membership, Message, Pair, Project
from tests.conftest import at_once, person

MakePairs = Callable[..., list[Pair]]
pytestmark = pytest.mark.django_db(transaction=True)


def annotators(project: Project, n: int) -> list[User]:
    return [person(f"p{i}", project=project, role="annotator") for i in range(n)]


def lease(project: Project, user: User) -> Assignment:
    found = queue.next_pair(project, user)
    assert found is not None
    return found


def test_two_disagreeing_votes_at_once_open_exactly_one_third_place(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    for pair in make_pairs(12):
        one, two = lease(project, ann), lease(project, ben)
        assert one.pair == two.pair
        at_once(
            lambda one=one: queue.vote(ann, one.token, choice="a"),
            lambda two=two: queue.vote(ben, two.token, choice="b"),
        )
        stored = Pair.objects.get(pk=one.pair_id)
        assert (stored.n_a, stored.n_b, stored.open_slots, stored.asked) == (1, 1, 1, 3)
        Pair.objects.filter(pk=stored.pk).update(state="retired", open_slots=0)
        assert pair.project == project


def test_two_agreeing_votes_at_once_resolve_the_pair_once(
    project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(12)
    for _ in range(12):
        one, two = lease(project, ann), lease(project, ben)
        at_once(
            lambda one=one: queue.vote(ann, one.token, choice="a"),
            lambda two=two: queue.vote(ben, two.token, choice="a"),
        )
    assert Pair.objects.filter(state="resolved", n_a=2, open_slots=0, asked=2).count() == 12
    assert Label.objects.filter(n_votes=2).count() == 12


def test_a_double_click_stores_one_vote(project: Project, ann: User, make_pairs: MakePairs) -> None:
    make_pairs(10)
    for _ in range(10):
        token = lease(project, ann).token
        results = at_once(*[lambda token=token: queue.vote(ann, token, choice="a")] * 4)
        statuses = Counter(getattr(one, "status", repr(one)) for one in results)
        assert statuses == {"stored": 1, "replayed": 3}
    assert Pair.objects.aggregate(n=Sum("n_a"))["n"] == 10


def test_two_different_choices_at_once_store_one_and_refuse_the_other(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(10)
    for _ in range(10):
        token = lease(project, ann).token
        results = at_once(
            lambda token=token: queue.vote(ann, token, choice="a"),
            lambda token=token: queue.vote(ann, token, choice="b"),
        )
        assert sorted(type(one).__name__ for one in results) == ["ChoiceConflict", "VoteResult"]
    assert Pair.objects.aggregate(n=Sum(F("n_a") + F("n_b")))["n"] == 10


def test_sixteen_people_get_sixteen_places_on_eight_pairs(
    project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(8)
    people = annotators(project, 16)
    leased = at_once(*[lambda user=user: lease_patiently(project, user) for user in people])
    assert set(Counter(one.pair_id for one in leased).values()) == {2}


def lease_patiently(project: Project, user: User) -> Assignment:
    """SKIP LOCKED may find everything locked for a moment: ask again, as clients do."""
    for _ in range(200):
        if (found := queue.next_pair(project, user)) is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("no pair came")


def test_one_person_in_many_tabs_at_once_never_holds_more_than_two_leases(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(20)
    first = lease(project, ann)
    at_once(*[lambda: queue.next_pair(project, ann, after=first.token)] * 8)
    assert Assignment.objects.leased().count() == 2


def test_undo_and_a_new_lease_at_once_keep_the_places_exact(
    project: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    for _ in range(8):
        (pair,) = make_pairs(1)
        queue.vote(ann, lease(project, ann).token, choice="a")
        queue.vote(ben, lease(project, ben).token, choice="b")
        at_once(lambda: queue.undo(ben, project), lambda: queue.next_pair(project, cleo))
        pair.refresh_from_db()
        held = pair.assignments.filter(state__in=("reserved", "voted")).count()
        assert pair.open_slots + held == pair.asked
        for left in Assignment.objects.leased().select_related("annotator"):
            queue.vote(left.annotator, left.token, choice="a")
        pair.refresh_from_db()
        assert (pair.state, pair.n_a) == ("resolved", pair.asked)


def test_thirty_two_people_over_http_leave_every_pair_with_the_votes_it_asked_for(
    project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(90, arms="random")
    make_pairs(90, arms="both", priority=1.0)
    crowd_votes(project, people=32, seed=1)
    every_pair_has_what_it_asked_for(180)


@pytest.mark.long
def test_thirty_two_people_over_http_vote_on_a_thousand_pairs(
    project: Project, make_pairs: MakePairs
) -> None:
    make_pairs(700, arms="both", priority=1.0)
    make_pairs(300, arms="random")
    crowd_votes(project, people=32, seed=2)
    every_pair_has_what_it_asked_for(1000)


def crowd_votes(project: Project, *, people: int, seed: int) -> None:
    """Everybody votes as fast as they can until nothing is open, with the faults people have."""
    users = annotators(project, people)
    results = at_once(
        *[lambda i=i, user=user: vote_all(project, user, random.Random(seed * 1000 + i))
          for i, user in enumerate(users)]
    )  # fmt: skip
    codes: Counter[int] = Counter()
    for result in results:
        if isinstance(result, BaseException):
            raise result
        codes += result
    assert set(codes) <= {200, 204, 409}, codes
    assert codes[409] and codes[200]


def vote_all(project: Project, user: User, rng: random.Random) -> Counter[int]:
    client = APIClient()
    client.force_authenticate(user)
    next_url = f"/api/v1/projects/{project.slug}/next/"
    codes: Counter[int] = Counter()
    body = None
    while True:
        if body is None:
            response = client.post(next_url, {}, format="json")
            codes[response.status_code] += 1
            if response.status_code == 204:
                if finished(project):
                    return codes
                time.sleep(0.02)
                continue
            body = response.json()
        body = vote_once(client, body, rng, codes)


def vote_once(
    client: APIClient, body: dict[str, str], rng: random.Random, codes: Counter[int]
) -> dict[str, str] | None:
    """Vote, now and then twice, with another choice, or after a skip that is taken back."""
    url = f"/api/v1/assignments/{body['assignment']}/"
    ballot = {"choice": rng.choice(["left", "left", "right", "tie"])}
    if rng.random() < 0.03:
        codes[client.post(f"{url}skip/", {}, format="json").status_code] += 1
        codes[client.post(f"{url}undo/").status_code] += 1
    response = client.post(f"{url}vote/?next=1", ballot, format="json")
    codes[response.status_code] += 1
    assert response.status_code == 200, response.content
    if rng.random() < 0.1:
        again = client.post(f"{url}vote/", ballot, format="json")
        assert again.json()["status"] == "replayed"
        other = {"choice": "both_bad"}
        codes[client.post(f"{url}vote/", other, format="json").status_code] += 1
    return response.json()["next"]


def finished(project: Project) -> bool:
    return not Pair.objects.filter(project=project, state="open").exists()


def every_pair_has_what_it_asked_for(n: int) -> None:
    assert Pair.objects.exclude(state="open").count() == n
    votes = Assignment.objects.filter(state="voted", surplus=False).values("pair")
    recount = dict(votes.annotate(n=Count("pk")).values_list("pair", "n"))
    for pair in Pair.objects.all():
        assert recount[pair.pk] == pair.votes == pair.asked
        assert pair.votes in (2, 3) and pair.open_slots == 0
        if pair.votes == 2:
            assert 2 in (pair.n_a, pair.n_b, pair.n_tie)
    twice = Assignment.objects.values("pair", "annotator").annotate(n=Count("pk")).filter(n__gt=1)
    assert not twice.exists()
    assert Membership.objects.count() >= 32


def test_two_tabs_that_answer_gold_pairs_at_once_get_one_warning_and_no_deadlock(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(10)
    for _ in range(4):
        queue.vote(ann, gold_lease(project, ann).token, choice="b")
    first = gold_lease(project, ann)
    second = gold_lease(project, ann, after=first.token)

    def answer(tab: Assignment) -> str:
        # As the page does it: the vote and the claim of the next pair are one transaction.
        with queue.write():
            cast = queue.vote(ann, tab.token, choice="b")
            queue.next_pair(project, ann)
        return cast.status

    assert at_once(lambda: answer(first), lambda: answer(second)) == ["stored", "stored"]
    assert Message.objects.count() == 1


def gold_lease(project: Project, user: User, after: UUID | None = None) -> Assignment:
    """A lease on an ordinary pair that becomes a gold pair under the person's eyes."""
    found = queue.next_pair(project, user, after=after)
    assert found is not None
    Pair.objects.filter(pk=found.pair_id).update(kind="gold", arms="check", stream="check")
    Gold.objects.create(pair_id=found.pair_id, expected="a")
    return found
