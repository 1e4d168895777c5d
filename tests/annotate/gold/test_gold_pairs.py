"""Gold pairs: hidden among the others, measuring people, and never part of the data."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from annotate import exchange, queue
from annotate.exporting import freezing
from annotate.gold import gold_pairs
from annotate.models import Assignment, Gold, Membership, Pair, Project
from annotate.people import annotator_figures
from annotate.people.annotator_figures import Share
from annotate.people.labelling_progress import open_pairs, projects_of
from annotate.quality import agreement_counts

MakePairs = Callable[..., list[Pair]]


@pytest.fixture
def often(project: Project) -> Project:
    """Half of what is offered is a check."""
    project.gold_share = 0.5
    project.save()
    return project


def gold(make_pairs: MakePairs, expected: str = "a", **options: object) -> Gold:
    """Of a pair that is settled and no longer offered itself."""
    (pair,) = make_pairs(1, state="resolved", open_slots=0)
    return gold_pairs.make_gold(pair, expected, **options)  # type: ignore[arg-type]


def label(project: Project, user: User, n: int, *, choice: str = "a", seed: int = 0) -> list[Pair]:
    rng, seen = random.Random(seed), []
    for _ in range(n):
        assignment = queue.next_pair(project, user, rng=rng)
        if assignment is None:
            break
        seen.append(assignment.pair)
        queue.vote(user, assignment.token, choice=choice)
    return seen


def test_gold_pairs_are_offered_at_about_their_share(
    often: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(60)
    for _ in range(40):
        gold(make_pairs)
    kinds = [pair.kind for pair in label(often, ann, 60)]
    assert 20 <= kinds.count("gold") <= 40


def test_without_a_share_none_is_offered(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    project.gold_share = 0
    project.save()
    make_pairs(10)
    gold(make_pairs)
    assert {pair.kind for pair in label(project, ann, 20)} == {"normal"}


def test_a_gold_pair_is_offered_once_to_each_person_and_to_everybody(
    often: Project, ann: User, ben: User, cleo: User, make_pairs: MakePairs
) -> None:
    make_pairs(30, wanted=3, limit=3, open_slots=3, asked=3)
    mine = gold(make_pairs)
    for person in (ann, ben, cleo):
        seen = label(often, person, 30)
        assert [pair.pk for pair in seen].count(mine.pair_id) == 1
    mine.pair.refresh_from_db()
    assert mine.pair.state == "open"


def test_a_check_never_comes_when_there_is_nothing_else(
    often: Project, ann: User, make_pairs: MakePairs
) -> None:
    gold(make_pairs)
    rng = random.Random(1)
    assert all(queue.next_pair(often, ann, rng=rng) is None for _ in range(30))


def test_nobody_sees_the_same_texts_twice(
    often: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    label(often, ann, 1)
    original = often.pairs.get()
    make_pairs(20)
    made = gold_pairs.make_gold(original, "a")
    assert made.pair_id not in {pair.pk for pair in label(often, ann, 30)}
    seen = {pair.pk for pair in label(often, ben, 30)}
    assert made.pair_id in seen and original.pk not in seen


def test_a_gold_pair_looks_like_any_other(
    often: Project, ann: User, make_pairs: MakePairs, api_for: Callable[[User], APIClient]
) -> None:
    make_pairs(20)
    for _ in range(20):
        gold(make_pairs, explanation="Because of the secret reason.")
    api, shapes = api_for(ann), {}
    for _ in range(20):
        body = api.post("/api/v1/projects/desk/next/").json()
        kind = Pair.objects.get(pk=body["pair"]).kind
        text = str(body)
        assert "gold" not in text and "secret" not in text and "check" not in text
        answer = api.post(
            f"/api/v1/assignments/{body['assignment']}/vote/", {"choice": "left"}, format="json"
        )
        shapes.setdefault(kind, set()).add((tuple(sorted(body)), str(answer.json())))
    assert set(shapes) == {"gold", "normal"} and shapes["gold"] == shapes["normal"]


def test_votes_on_gold_are_outside_labels_agreement_and_counts(
    often: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(8)
    before = exchange.counts(often), exchange.queue_depth(often)
    for _ in range(4):
        gold(make_pairs)
    Pair.objects.filter(kind="normal", state="resolved").delete()
    assert (exchange.counts(often), exchange.queue_depth(often)) == before
    assert open_pairs(often, ann).total == 8
    assert [one.all_pairs for one in projects_of(ann)] == [8]
    label(often, ann, 30)
    label(often, ben, 30)
    assert Assignment.objects.filter(pair__kind="gold", state="voted").count() > 4
    assert not Pair.objects.filter(kind="gold", label__isnull=False).exists()
    assert agreement_counts.summary(often).votes == 16
    assert exchange.counts(often)["votes"] == 16
    version = freezing.freeze(often)
    taught = exchange.preferences(often, version, include_simulated=False)
    assert sum(len(row["votes"]) for row in taught) == 16


def right(project: Project) -> dict[int, Share]:
    """Person -> the hidden gold pairs they got right."""
    return {one.annotator_id: one.gold for one in annotator_figures.count(project)}


def test_results_count_right_answers_by_class(
    often: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    for expected in ("a", "b", "tie"):
        gold(make_pairs, expected)
    label(often, ann, 30, choice="a")
    label(often, ben, 30, choice="both_bad")
    assert right(often) == {ann.pk: Share(1, 3), ben.pk: Share(1, 3)}


def test_a_gold_pair_that_is_switched_off_is_neither_offered_nor_counted(
    often: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    made = gold(make_pairs)
    label(often, ann, 15)
    assert right(often)[ann.pk].n == 1
    gold_pairs.switch(made, on=False)
    assert right(often)[ann.pk].n == 0
    assert made.pair_id not in {pair.pk for pair in label(often, ben, 15)}
    gold_pairs.switch(made, on=True)
    made.pair.refresh_from_db()
    assert made.pair.open_slots == Pair.UNLIMITED - 1
    assert right(often)[ann.pk].n == 1


def test_a_qualification_pair_is_never_offered_while_labelling(
    often: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(20)
    gold(make_pairs, qualification=True)
    assert {pair.kind for pair in label(often, ann, 30)} == {"normal"}


def test_an_open_pair_leaves_the_queue_when_it_becomes_gold(
    often: Project, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    gold_pairs.make_gold(pair, "a")
    pair.refresh_from_db()
    assert (pair.state, pair.open_slots) == ("retired", 0)


def test_making_a_pair_gold_again_corrects_the_answer(
    often: Project, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    first = gold_pairs.make_gold(pair, "a", qualification=True)
    again = gold_pairs.make_gold(pair, "b", "Look at the order number.")
    assert again.pk == first.pk
    assert (again.expected, again.explanation) == ("b", "Look at the order number.")
    again.pair.refresh_from_db()
    assert again.pair.open_slots == Pair.UNLIMITED


@pytest.mark.parametrize("kind", ["gold", "retest", "evaluation"])
def test_pairs_that_measure_something_else_cannot_be_gold(
    project: Project, make_pairs: MakePairs, kind: str
) -> None:
    (pair,) = make_pairs(1, kind=kind)
    with pytest.raises(gold_pairs.NoGold):
        gold_pairs.make_gold(pair, "a")


def test_an_undone_vote_on_gold_can_be_cast_again(
    often: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    made = gold(make_pairs)
    for seed in range(30):
        if label(often, ann, 1, seed=seed)[0].pk == made.pair_id:
            break
    taken_back = queue.undo(ann, often)
    assert taken_back is not None and taken_back.pair_id == made.pair_id
    queue.vote(ann, taken_back.token, choice="b")
    assert right(often) == {ann.pk: Share(0, 1)}


def test_a_paused_person_gets_no_pair_and_is_told(
    project: Project,
    ann: User,
    ben: User,
    make_pairs: MakePairs,
    client_for: Callable[[User], Client],
) -> None:
    make_pairs(3)
    Membership.objects.filter(user=ann).update(paused_at=timezone.now(), paused_because="Checks")
    assert queue.blocked_by(project, ann) == "paused"
    assert queue.next_pair(project, ann) is None
    page = client_for(ann).get("/projects/desk/label/").content.decode()
    assert "Your labelling is paused" in page and "Checks" not in page
    assert queue.blocked_by(project, ben) == ""
    assert queue.next_pair(project, ben) is not None


def test_a_reviewer_adds_a_gold_pair_and_switches_it_off(
    project: Project, olga: User, make_pairs: MakePairs, client_for: Callable[[User], Client]
) -> None:
    (pair,) = make_pairs(1)
    client = client_for(olga)
    assert "No gold pairs yet" in client.get("/projects/desk/checks/").content.decode()
    form = client.get(f"/projects/desk/checks/?pair={pair.pk}").content.decode()
    assert pair.completion_a.text in form
    answer = {"pair": pair.pk, "expected": "a", "explanation": "It says where the order is."}
    page = client.post("/projects/desk/checks/", answer, follow=True).content.decode()
    assert "Saved as a gold pair." in page and "It says where the order is." in page
    made = Gold.objects.get()
    client.post(f"/projects/desk/checks/{made.pk}/", {"active": "no"})
    made.refresh_from_db()
    assert not made.active
    assert "Use again" in client.get("/projects/desk/checks/").content.decode()


def test_a_project_may_want_a_reason_for_every_known_answer(
    project: Project, olga: User, make_pairs: MakePairs, client_for: Callable[[User], Client]
) -> None:
    project.require_rationale = True
    project.save()
    answer = {"pair": make_pairs(1)[0].pk, "expected": "a"}
    client = client_for(olga)
    refused = client.post("/projects/desk/checks/", answer)
    assert refused.status_code == 400 and "This field is required." in refused.text
    assert not Gold.objects.exists()
    client.post("/projects/desk/checks/", answer | {"explanation": "It says where it is."})
    assert Gold.objects.get().explanation == "It says where it is."


def test_the_page_says_what_is_missing(
    project: Project, olga: User, make_pairs: MakePairs, client_for: Callable[[User], Client]
) -> None:
    (pair,) = make_pairs(1)
    client = client_for(olga)
    assert client.post("/projects/desk/checks/", {"pair": pair.pk}).status_code == 400
    assert client.get("/projects/desk/checks/?pair=x").status_code == 404
    assert client.get("/projects/desk/checks/?pair=999999").status_code == 404
    assert not Gold.objects.exists()


def test_the_page_offers_pairs_on_which_everybody_agreed_and_finds_others(
    project: Project, olga: User, make_pairs: MakePairs, client_for: Callable[[User], Client]
) -> None:
    settled, split, _ = make_pairs(3)
    Pair.objects.filter(pk=settled.pk).update(n_a=2, open_slots=0, state="resolved")
    Pair.objects.filter(pk=split.pk).update(n_a=2, n_b=1, asked=3, open_slots=0, state="resolved")
    assert list(gold_pairs.candidates(project)) == [settled]
    client = client_for(olga)
    found = client.get("/projects/desk/checks/?q=order 1 is on").content.decode()
    assert f"?pair={split.pk}" in found and f"?pair={settled.pk}" not in found
    gold_pairs.make_gold(settled, "a")
    assert not gold_pairs.candidates(project).exists()


def test_a_gold_pair_of_another_project_is_not_found(
    project: Project, olga: User, make_pairs: MakePairs, client_for: Callable[[User], Client]
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    (pair,) = make_pairs(1, project=other)
    made = gold_pairs.make_gold(pair, "a")
    client = client_for(olga)
    assert client.post(f"/projects/desk/checks/{made.pk}/", {"active": "no"}).status_code == 404
    assert client.get(f"/projects/desk/checks/?pair={pair.pk}").status_code == 404


def test_changing_a_vote_on_gold_is_reviewed_like_casting_it(
    often: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(30)
    for _ in range(5):
        gold(make_pairs)
    label(often, ann, 30)
    answers = Assignment.objects.filter(annotator=ann, pair__kind="gold", state="voted")
    tokens = list(answers.values_list("token", flat=True))
    assert len(tokens) == 5
    for token in tokens[:2]:
        queue.revise(ann, token, side="tie")
    assert Membership.objects.get(user=ann).warned_at is None
    queue.revise(ann, tokens[2], side="tie")
    assert Membership.objects.get(user=ann).warned_at is not None


def test_the_share_of_gold_pairs_is_promised_for_when_there_are_any(
    project: Project, olga: User, make_pairs: MakePairs, client_for: Callable[[User], Client]
) -> None:
    page = client_for(olga).get("/projects/desk/checks/").content.decode()
    assert "look like all others, once there are any;" in page
    gold(make_pairs)
    page = client_for(olga).get("/projects/desk/checks/").content.decode()
    assert "look like all others; votes on them" in page
