"""Batches by REST: list, make of a selection, give to people, rename, take apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import Batch, Membership, Pair, Project
from tests.conftest import person

ApiFor = Callable[[User], APIClient]
MakePairs = Callable[..., list[Pair]]
BATCHES = "/api/v1/projects/desk/batches/"


@pytest.fixture
def script(api_for: ApiFor, zed: User) -> APIClient:
    return api_for(zed)


def test_a_script_makes_a_batch_of_a_selection_and_its_person_is_offered_it_first(
    script: APIClient, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    pairs = make_pairs(6)
    Pair.objects.filter(pk__in=[pair.pk for pair in pairs[3:]]).update(tags=["law"])
    member = project.memberships.get(user=ann)
    asked = {"name": "Law", "selection": {"tag": "law"}, "most": 2, "people": [member.pk]}
    made = script.post(BATCHES, asked, format="json")
    assert made.status_code == 201
    body = made.json()
    batch = Batch.objects.get()
    assert (body["pairs"], body["open"], body["done"]) == (2, 2, 0)
    assert made["Location"] == body["address"] == f"{BATCHES}{batch.pk}/"
    assert {pair.tags[0] for pair in batch.pairs.all()} == {"law"}
    lease = queue.next_pair(project, ann)
    assert lease is not None and lease.pair in batch.pairs.all()
    queue.vote_side(ann, lease.token, "left")
    told = {"id": member.pk, "pseudonym": member.pseudonym, "given": True, "votes": 1, "left": 1}
    assert script.get(body["address"]).json() == body | {"shares": [told]}
    listed = script.get(BATCHES).json()["results"]
    assert listed == [{name: body[name] for name in body if name != "shares"}]
    inside = script.get("/api/v1/projects/desk/pairs/", {"batch": "Law"}).json()["results"]
    assert {one["id"] for one in inside} == set(batch.pairs.values_list("pk", flat=True))


def test_pairs_can_be_named_and_those_of_another_batch_stay_there(
    script: APIClient, make_pairs: MakePairs
) -> None:
    numbers = [pair.pk for pair in make_pairs(3)]
    first = script.post(BATCHES, {"name": "One", "pairs": numbers[:2]}, format="json").json()
    second = script.post(BATCHES, {"name": "Two", "pairs": numbers}, format="json").json()
    assert (first["pairs"], second["pairs"]) == (2, 1)
    none_left = script.post(BATCHES, {"name": "Three", "pairs": numbers}, format="json")
    assert none_left.status_code == 409 and "in no batch yet" in none_left.json()["detail"]
    assert Batch.objects.count() == 2


def test_a_batch_is_renamed_given_to_others_and_taken_apart(
    script: APIClient, project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(2)
    of = {user: project.memberships.get(user=user).pk for user in (ann, ben)}
    made = script.post(BATCHES, {"name": "One", "people": [of[ann]]}, format="json").json()
    changed = script.patch(made["address"], {"name": "First"}, format="json").json()
    assert (changed["name"], changed["people"]) == ("First", [of[ann]])
    given = script.patch(made["address"], {"people": [of[ben]]}, format="json").json()
    assert (given["name"], given["people"]) == ("First", [of[ben]])
    assert script.delete(made["address"]).status_code == 204
    assert script.get(made["address"]).status_code == 404
    assert Pair.objects.filter(batch=None).count() == 2


def test_a_name_that_is_taken_is_refused(script: APIClient, make_pairs: MakePairs) -> None:
    numbers = [pair.pk for pair in make_pairs(3)]  # the third is in no batch
    for name, number in zip(("One", "Two"), numbers[:2], strict=True):
        two = script.post(BATCHES, {"name": name, "pairs": [number]}, format="json").json()
    for answer in (
        script.post(BATCHES, {"name": "One"}, format="json"),
        script.patch(two["address"], {"name": "One"}, format="json"),
    ):
        assert answer.status_code == 400
        assert answer.json()["errors"] == {"name": ["A batch has this name already."]}
    assert set(Batch.objects.values_list("name", flat=True)) == {"One", "Two"}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("name", ""), ("name", "x" * 81), ("name", 7), ("most", 0), ("most", "many")),
        *(("pairs", ["1"]), ("pairs", 1), ("selection", {"colour": "red"})),
        *(("selection", {"state": "sold"}), ("people", [2**40]), ("people", ["ann"])),
    ],
)
def test_wrong_values_are_refused_by_name(
    script: APIClient, make_pairs: MakePairs, field: str, wrong: object
) -> None:
    make_pairs(1)
    answer = script.post(BATCHES, {"name": "One", field: wrong}, format="json")
    assert answer.status_code == 400
    assert {name.partition(".")[0] for name in answer.json()["errors"]} == {field}
    assert not Batch.objects.exists()


def test_people_of_elsewhere_and_those_who_left_are_given_nothing(
    script: APIClient, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    other = Project.objects.create(slug="other", name="Other")
    stranger = Membership.objects.create(project=other, user=person("tim"))
    gone = project.memberships.get(user=ann)
    project.memberships.filter(pk=gone.pk).update(active=False)
    for member in (stranger, gone):
        answer = script.post(BATCHES, {"name": "One", "people": [member.pk]}, format="json")
        assert str(member.pk) in answer.json()["errors"]["people"][0]
    assert not Batch.objects.exists()


def test_reviewers_read_and_change_nothing(
    api_for: ApiFor, script: APIClient, olga: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    made = script.post(BATCHES, {"name": "One"}, format="json").json()
    reviewer = api_for(olga)
    assert reviewer.get(BATCHES).json()["results"][0]["name"] == "One"
    assert reviewer.get(made["address"]).json() == made
    assert reviewer.patch(made["address"], {"name": "Two"}, format="json").status_code == 403
    assert reviewer.delete(made["address"]).status_code == 403
    assert reviewer.post(BATCHES, {"name": "Two"}, format="json").status_code == 403
