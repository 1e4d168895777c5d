"""Writes: new prompts, tags, people, guidelines, decisions and versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import Label, Membership, Pair, Project, Prompt
from annotate.models.roles import Role

Api = Callable[[User], APIClient]
MakePairs = Callable[..., list[Pair]]
DESK = "/api/v1/projects/desk/"


@pytest.fixture
def api(project: Project, zed: User, api_for: Api) -> APIClient:
    """A script of the admin's."""
    return api_for(zed)


def send(client: APIClient, method: str, path: str, body: object = None) -> tuple[int, Any]:
    answer = getattr(client, method)(DESK + path, body, format="json")
    return answer.status_code, answer.json() if answer.content else None


def prompt(**more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "Where is it?"}], **more}


def test_a_prompt_with_three_completions_is_three_pairs(api: APIClient, project: Project) -> None:
    texts = [{"text": text, "model": f"m{text}"} for text in "abc"]
    status, said = send(
        api, "post", "prompts/", {"prompts": [prompt(completions=texts, tags=["x"])]}
    )
    assert status == 201
    assert said["added"] == {"prompts": 1, "completions": 3, "pairs": 3, "merged": 0}
    told = send(api, "get", f"pairs/?prompt={said['results'][0]['id']}")[1]["results"]
    assert {pair["model_a"] + pair["model_b"] for pair in told} == {"mamb", "mamc", "mbmc"}
    assert {pair["state"] for pair in told} == {"open"} and told[0]["tags"] == ["x"]
    status, said = send(api, "post", "prompts/", {"prompts": [prompt(completions=texts)]})
    assert (status, said["added"]["pairs"]) == (200, 0), "all of it was there"


def test_ratings_of_a_completion_are_taken_and_told(api: APIClient, project: Project) -> None:
    rated = {"text": "It is here.", "ratings": {"label": 1, "helpfulness": 3.5}}
    body = {"prompts": [prompt(completions=[rated, {"text": "No."}])]}
    assert send(api, "post", "prompts/", body)[0] == 201
    plain, told = send(api, "get", "completions/")[1]["results"]
    assert plain["ratings"] == []
    assert told["ratings"] == [
        {"name": "label", "value": 1.0, "annotator": None},
        {"name": "helpfulness", "value": 3.5, "annotator": None},
    ]
    assert send(api, "get", f"completions/{told['id']}/")[1] == told


def test_only_the_pairs_that_are_named_are_made(api: APIClient, project: Project) -> None:
    texts = [{"text": text} for text in "abc"]
    body = {"prompts": [prompt(completions=texts, pairs=[[0, 2]]), prompt(), prompt()]}
    _, said = send(api, "post", "prompts/", body)
    assert said["added"]["pairs"] == 1 and Prompt.objects.count() == 1
    assert len(said["results"]) == 1, "three times the same prompt"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"messages": []}, "prompts.0.messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "prompts.0.messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "prompts.0.messages"),
        ({"completions": [{"text": "a"}], "pairs": [[0, 1]]}, "prompts.0.pairs"),
        ({"completions": [{"text": "a"}, {"text": "b"}], "pairs": [[1, 1]]}, "prompts.0.pairs"),
        ({"completions": [7]}, "prompts.0.completions.0"),
        (
            {"completions": [{"text": "a", "ratings": {"x": True}}]},
            "prompts.0.completions.0.ratings.x",
        ),
        (
            {"completions": [{"text": "a", "ratings": {"x" * 81: 1}}]},
            "prompts.0.completions.0.ratings",
        ),
        ({"tags": [7]}, "prompts.0.tags.0"),
    ],
)
def test_a_prompt_that_is_none_is_refused_by_its_place(
    api: APIClient, changed: dict[str, object], field: str
) -> None:
    status, said = send(api, "post", "prompts/", {"prompts": [prompt(**changed)]})
    assert status == 400 and list(said["errors"]) == [field]
    assert not Prompt.objects.exists()


@pytest.mark.parametrize("kind", ["pairs", "prompts"])
def test_tags_and_metadata_are_replaced_and_texts_stay(
    api: APIClient, make_pairs: MakePairs, kind: str
) -> None:
    pair = make_pairs(1)[0]
    path = f"{kind}/{pair.pk if kind == 'pairs' else pair.prompt_id}/"
    assert send(api, "patch", path, {"tags": ["a"], "metadata": {"n": 1}})[0] == 200
    status, said = send(api, "patch", path, {"tags": ["b"]})
    assert (status, said["tags"], said["metadata"]) == (200, ["b"], {"n": 1})
    assert send(api, "patch", path, {"messages": []})[0] == 400
    assert send(api, "delete", path)[0] == 405


def test_a_decision_is_the_label_until_it_is_taken_back(
    project: Project, olga: User, ann: User, api_for: Api, make_pairs: MakePairs
) -> None:
    client, pair = api_for(olga), make_pairs(1)[0]
    body = {"pair": pair.pk, "choice": "a", "strength": 3, "rationale": "It answers."}
    status, said = send(client, "post", "adjudications/", body)
    assert (status, said["reviewer"], said["category"]) == (201, "olga", "ambiguous")
    assert Label.objects.get(pair=pair).outcome == "a"
    assert send(client, "post", "adjudications/", {**body, "choice": "tie"})[0] == 200
    assert send(client, "get", f"adjudications/{pair.pk}/")[1]["choice"] == "tie"
    assert send(client, "delete", f"adjudications/{pair.pk}/")[0] == 204
    assert not Label.objects.exists()
    assert send(client, "delete", f"adjudications/{pair.pk}/")[0] == 404


def test_a_decision_has_a_reason_where_the_project_wants_one(
    project: Project, olga: User, api_for: Api, make_pairs: MakePairs
) -> None:
    Project.objects.update(require_rationale=True)
    pair = make_pairs(1)[0]
    status, said = send(api_for(olga), "post", "adjudications/", {"pair": pair.pk, "choice": "a"})
    assert status == 400 and "rationale" in said["errors"]


def test_a_pair_without_a_label_cannot_be_decided(
    project: Project, olga: User, api_for: Api, make_pairs: MakePairs
) -> None:
    client, pair = api_for(olga), make_pairs(1, kind="gold")[0]
    status, said = send(client, "post", "adjudications/", {"pair": pair.pk, "choice": "a"})
    assert status == 409 and "checks annotators" in said["detail"]
    assert send(client, "post", "adjudications/", {"pair": 10**9, "choice": "a"})[0] == 400


def test_people_are_changed_weighed_and_paused(
    api: APIClient, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    path = f"annotators/{Membership.objects.get(user=ann).pk}/"
    body = {"role": "reviewer", "weight": 0.5, "paused": True, "because": "A look at your votes."}
    status, said = send(api, "patch", path, body)
    assert status == 200 and (said["role"], said["weight"], said["username"]) == (
        "reviewer",
        0.5,
        "ann",
    )
    assert said["paused_at"] and queue.next_pair(project, ann) is None
    assert send(api, "patch", path, {"paused": False})[1]["paused_at"] is None
    assert queue.next_pair(project, ann) is not None
    assert send(api, "patch", path, {"active": False})[1]["active"] is False


def test_a_weight_of_zero_takes_the_votes_out_of_the_labels(
    api: APIClient, project: Project, ann: User, ben: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    for user in (ann, ben):
        lease = queue.next_pair(project, user)
        assert lease is not None
        queue.vote(user, lease.token, choice="a")
    for user in (ann, ben):
        send(api, "patch", f"annotators/{Membership.objects.get(user=user).pk}/", {"weight": 0})
    assert not Label.objects.exists()


@pytest.mark.parametrize(
    "body", [{"paused": True}, {"because": "x"}, {"weight": 2}, {"role": "king"}, {"name": "x"}]
)
def test_a_change_that_is_none_is_400(api: APIClient, ann: User, body: dict[str, object]) -> None:
    assert send(api, "patch", f"annotators/{Membership.objects.get(user=ann).pk}/", body)[0] == 400


def test_ones_own_place_and_simulated_people_stay_as_they_are(
    api: APIClient, project: Project, zed: User, ann: User
) -> None:
    own = Membership.objects.get(user=zed)
    assert send(api, "patch", f"annotators/{own.pk}/", {"role": "annotator"})[0] == 403
    Membership.objects.filter(user=ann).update(simulated=True)
    other = Membership.objects.get(user=ann)
    for body in (
        {"active": False},
        {"paused": True, "because": "x"},
        {"weight": 0.1, "paused": False},
    ):
        assert send(api, "patch", f"annotators/{other.pk}/", body)[0] == 403
    assert Membership.objects.get(user=ann).weight == 1, "all of a change, or nothing"


def test_an_invitation_for_several_says_how_many_and_how_long(api: APIClient) -> None:
    asked = {"places": 3, "days": 2, "note": "class"}
    status, said = send(api, "post", "invitations/", asked)
    assert (status, said["places"], said["joined"]) == (201, 3, 0)
    days = datetime.fromisoformat(said["expires_at"]) - datetime.fromisoformat(said["created_at"])
    assert round(days / timedelta(days=1)) == 2
    for wrong in ({"places": 0}, {"days": 91}, {"places": 2, "role": "admin"}):
        assert send(api, "post", "invitations/", wrong)[0] == 400


def test_an_invitation_lets_somebody_in(api: APIClient, project: Project, eve: User) -> None:
    status, said = send(api, "post", "invitations/", {"role": "reviewer", "note": "Eve"})
    assert status == 201
    assert [one["note"] for one in send(api, "get", "invitations/")[1]["results"]] == ["Eve"]
    guest = Client()
    guest.force_login(eve)
    guest.post(said["link"].removeprefix("http://testserver"))
    assert Membership.objects.get(user=eve).role == Role.REVIEWER


def test_guidelines_get_the_next_version_unless_somebody_was_faster(
    api: APIClient, project: Project
) -> None:
    status, said = send(api, "post", "guidelines/", {"text": "Be brief.", "based_on": 1})
    assert status == 201 and (said["version"], said["author"]) == (2, "zed")
    status, said = send(api, "post", "guidelines/", {"text": "Be long.", "based_on": 1})
    assert status == 409 and "Version 2" in said["detail"]
    texts = [one["text"] for one in send(api, "get", "guidelines/")[1]["results"]]
    assert texts == ["Be brief.", "Be *kind*."]
    assert send(api, "post", "guidelines/", {"text": "ü" * 60_000})[0] == 400


def test_votes_are_frozen_once(
    api: APIClient, project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    lease = queue.next_pair(project, ann)
    assert lease is not None
    queue.vote(ann, lease.token, choice="a")
    status, said = send(api, "post", "versions/")
    assert status == 201 and (said["number"], said["n_votes"], said["created_by"]) == (1, 1, "zed")
    assert send(api, "post", "versions/") == (200, said)
    assert send(api, "get", "versions/1/")[1] == said
    assert send(api, "get", "versions/2/")[0] == 404


def test_no_list_takes_votes(api: APIClient) -> None:
    for name in ("votes", "my-votes", "labels"):
        assert send(api, "post", f"{name}/", {})[0] == 405
