from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from annotate.models import Project
from tests.training.history import add_policy, add_starter, make_round
from training.models import Round

Api = Callable[[User], APIClient]
ROUNDS = "/api/v1/projects/desk/rounds/"
MODELS = "/api/v1/projects/desk/models/"


@pytest.fixture
def ready(voted: Project, home: Path) -> Project:
    """Enough votes and a starter: a round can start."""
    add_starter(voted)
    return voted


def test_it_shows_the_loop_and_its_rounds(project: Project, olga: User, api_for: Api) -> None:
    add_starter(project)
    add_policy(make_round(project, 1), state="candidate", kl=52.4)
    make_round(project, 2, "running", done=1, stage="train_policy", step=3, total=24)
    data = api_for(olga).get(ROUNDS).json()
    assert data["policy"] == "policy-0" and data["pairs_open"] == 0
    assert data["blocked"].startswith("Round 2")
    assert [round_["number"] for round_ in data["rounds"]] == [2, 1]
    running, done = data["rounds"]
    states = [stage["state"] for stage in running["stages"]]
    assert states == ["done", "running", "waiting", "waiting", "waiting"]
    assert (running["stages"][1]["step"], running["stages"][1]["total"]) == (3, 24)
    assert done["stages"][0]["metrics"]["accuracy"] == 0.81
    assert done["models"] == ["policy-1"]
    assert done["outcome"].startswith("Not promoted. KL to the starter")


def test_a_post_starts_a_round(ready: Project, zed: User, api_for: Api) -> None:
    answer = api_for(zed).post(ROUNDS, {"seed": 7}, format="json")
    assert answer.status_code == 201
    assert (answer.json()["number"], answer.json()["state"]) == (1, "queued")
    assert Round.objects.get().config["seed"] == 7


def test_a_second_post_is_409(ready: Project, zed: User, api_for: Api) -> None:
    client = api_for(zed)
    assert client.post(ROUNDS).status_code == 201
    answer = client.post(ROUNDS)
    assert answer.status_code == 409
    assert answer.json()["detail"] == "Round 1 of this project is queued."
    assert Round.objects.count() == 1


def test_too_few_votes_are_400(project: Project, zed: User, api_for: Api) -> None:
    add_starter(project)
    answer = api_for(zed).post(ROUNDS)
    assert answer.status_code == 400
    assert "votes for a side on at least 12 pairs" in answer.json()["detail"]


def test_no_starter_is_400(project: Project, zed: User, api_for: Api) -> None:
    answer = api_for(zed).post(ROUNDS)
    assert answer.status_code == 400
    assert "no policy to train" in answer.json()["detail"]


@pytest.mark.parametrize("seed", [-1, "x", 2**31, 1.5, [1]])
def test_a_bad_seed_is_400_and_starts_nothing(
    seed: object, ready: Project, zed: User, api_for: Api
) -> None:
    answer = api_for(zed).post(ROUNDS, {"seed": seed}, format="json")
    assert answer.status_code == 400
    assert "seed" in answer.json()["errors"]
    assert not Round.objects.exists()


def test_a_reviewer_reads_but_does_not_start(ready: Project, olga: User, api_for: Api) -> None:
    client = api_for(olga)
    assert client.get(ROUNDS).status_code == 200
    assert client.post(ROUNDS).status_code == 403
    assert not Round.objects.exists()


@pytest.mark.parametrize("url", [ROUNDS, MODELS])
def test_annotators_strangers_and_unknown_people_read_nothing(
    url: str, project: Project, ann: User, eve: User, api_for: Api
) -> None:
    assert api_for(ann).get(url).status_code == 403
    assert api_for(eve).get(url).status_code == 404
    assert APIClient().get(url).status_code == 401


@pytest.mark.parametrize("url", [ROUNDS, MODELS])
def test_other_methods_are_405(url: str, project: Project, zed: User, api_for: Api) -> None:
    assert api_for(zed).delete(url).status_code == 405


def test_models_have_their_lineage(project: Project, olga: User, api_for: Api) -> None:
    add_starter(project)
    made = add_policy(make_round(project, 1), state="candidate")
    new, starter = api_for(olga).get(MODELS).json()
    assert (new["name"], new["parent"], new["round"]) == ("policy-1", "policy-0", 1)
    assert new["dataset_version"] == 1 and new["run"] == str(made.run and made.run.uuid)
    assert new["gates"][0]["name"] == "reward_accuracy" and new["gates"][0]["passed"]
    assert (starter["name"], starter["parent"], starter["round"]) == ("policy-0", None, None)


@pytest.mark.parametrize("url", [ROUNDS, MODELS])
def test_the_number_of_queries_does_not_grow(
    url: str, project: Project, zed: User, api_for: Api
) -> None:
    client = api_for(zed)
    client.get(url)  # the first use of a token is written down

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(url).status_code == 200
        return len(seen)

    add_policy(make_round(project, 1), state="candidate")
    few = queries()
    for number in range(2, 8):
        add_policy(make_round(project, number), state="candidate")
    assert queries() == few


def test_rounds_and_models_come_whole_or_in_pages_where_somebody_asks(
    project: Project, zed: User, api_for: Api
) -> None:
    client = api_for(zed)
    for number in range(1, 4):
        add_policy(make_round(project, number), state="candidate")
    whole = client.get(ROUNDS).json()
    assert [one["number"] for one in whole["rounds"]] == [3, 2, 1] and whole["next"] is None
    assert [one["name"] for one in client.get(MODELS).json()] == [
        "policy-3",
        "policy-2",
        "policy-1",
    ]
    numbers, names = [], []
    address, other = f"{ROUNDS}?page_size=2", f"{MODELS}?page_size=2"
    for _ in range(2):
        rounds, models = client.get(address).json(), client.get(other).json()
        numbers += [one["number"] for one in rounds["rounds"]]
        names += [one["name"] for one in models["results"]]
        assert rounds["votes"] == whole["votes"]
        address, other = rounds["next"], models["next"]
    assert numbers == [3, 2, 1] and names == ["policy-3", "policy-2", "policy-1"]
    assert address is None and other is None
    for wrong in ("page_size=0", "cursor=x"):
        assert {client.get(f"{url}?{wrong}").status_code for url in (ROUNDS, MODELS)} == {400}


def test_an_archived_project_starts_no_round_and_says_so(
    ready: Project, zed: User, api_for: Api
) -> None:
    Project.objects.update(archived=True)
    answer = api_for(zed).post(ROUNDS)
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"{ready.name} is archived: reopen it on Projects first."
    assert not Round.objects.exists()
