"""Lists of what a project holds: who sees them, filters, pages, and the number of statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from annotate import queue
from annotate.exporting import freezing
from annotate.models import Export, Flag, Import, Pair, Project
from annotate.review import adjudication
from tests.conftest import make_pair, person

Api = Callable[[User], APIClient]
MakePairs = Callable[..., list[Pair]]
DESK = "/api/v1/projects/desk/"
LISTS = (
    *("prompts", "completions", "pairs", "votes", "labels", "annotators", "adjudications"),
    *("flags", "guidelines", "versions", "jobs", "invitations"),
)


def read(client: APIClient, name: str, **filters: object) -> list[dict[str, Any]]:
    answer = client.get(f"{DESK}{name}/", filters)
    assert answer.status_code == 200, answer.json()
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def cast(project: Project, user: User, choice: str = "left") -> int:
    lease = queue.next_pair(project, user)
    assert lease is not None
    queue.vote_side(user, lease.token, choice)
    return lease.pair_id


@pytest.fixture
def lived(project: Project, make_pairs: MakePairs, ann: User, ben: User, olga: User) -> Project:
    """Three pairs; one is labelled, one decided by a reviewer, one has a warning."""
    pairs = make_pairs(3)
    Pair.objects.filter(pk=pairs[0].pk).update(tags=["hard"], metadata={"topic": "parcel"})
    for _ in range(2):
        cast(project, ann), cast(project, ben, "tie")
    adjudication.decide(olga, pairs[1], choice="b", rationale="B answers.")
    Flag.objects.create(pair=pairs[2], annotator=ann, kind="pii")
    return project


def test_a_vote_is_told_with_a_pseudonym_and_to_admins_with_a_name(
    lived: Project, olga: User, zed: User, api_for: Api
) -> None:
    told = read(api_for(olga), "votes", annotator="ann-ann")
    assert len(told) == 2 and {vote["annotator"] for vote in told} == {"ann-ann"}
    assert {vote["username"] for vote in told} == {None}
    assert {vote["username"] for vote in read(api_for(zed), "votes", annotator="ann")} == {"ann"}
    assert read(api_for(olga), "votes", annotator="ann") == [], "reviewers know no names"


def test_an_annotator_sees_only_what_is_theirs_and_blind(
    lived: Project, ann: User, api_for: Api
) -> None:
    client = api_for(ann)
    refused = {name for name in LISTS if client.get(f"{DESK}{name}/").status_code == 403}
    assert refused == set(LISTS) - {"guidelines"}
    own = read(client, "my-votes")
    assert [vote["choice"] for vote in own] == ["left", "left"]
    assert {"assignment", "pair", "state", "choice", "strength", "reasons", "comment",
            "skip_reason", "acted_at"} == set(own[0])  # fmt: skip
    said = read(client, "guidelines")[0]
    assert (said["version"], said["text"], said["author"]) == (1, "Be *kind*.", None)


def test_a_pair_tells_its_models_counts_and_label(lived: Project, olga: User, api_for: Api) -> None:
    pair = lived.pairs.order_by("pk")[1]
    told = api_for(olga).get(f"{DESK}pairs/{pair.pk}/").json()
    assert (told["model_a"], told["model_b"]) == ("starter", "starter")
    assert told["label"]["outcome"] == "b" and told["label"]["method"] == "adjudicated"
    assert set(told["votes"]) == {"a", "tie", "b"} and told["imported_by"] is None
    assert read(api_for(olga), "labels", method="adjudicated") == [told["label"]]


@pytest.mark.parametrize(
    ("name", "filters", "n"),
    [
        ("prompts", {"tag": "hard"}, 1),
        ("prompts", {"q": "order 2"}, 1),
        ("prompts", {"model": "starter"}, 3),
        ("prompts", {"model": "gpt"}, 0),
        ("prompts", {"created_since": "2100-01-01T00:00Z"}, 0),
        ("completions", {"q": "no idea"}, 3),
        ("completions", {"source": "starter"}, 6),
        ("completions", {"model": "gpt"}, 0),
        ("pairs", {"metadata": "topic=parcel"}, 1),
        ("pairs", {"flagged": "true"}, 1),
        ("pairs", {"kind": "gold"}, 0),
        ("pairs", {"annotator": "ann-ann"}, 2),
        ("votes", {"choice": "tie"}, 2),
        ("votes", {"since": "2100-01-01T00:00Z"}, 0),
        ("votes", {"imported": "false"}, 4),
        ("votes", {"imported": "true"}, 0),
        ("labels", {"outcome": "a"}, 0),
        ("adjudications", {"category": "ambiguous"}, 1),
        ("adjudications", {"since": "2100-01-01T00:00Z"}, 0),
        ("flags", {"kind": "pii", "settled": "false"}, 1),
        ("flags", {"settled": "true"}, 0),
        ("annotators", {"role": "annotator"}, 2),
        ("annotators", {"paused": "true"}, 0),
    ],
)
def test_filters_choose_rows(
    lived: Project, olga: User, api_for: Api, name: str, filters: dict[str, str], n: int
) -> None:
    assert len(read(api_for(olga), name, **filters)) == n


def test_the_two_splits_are_all_prompts(lived: Project, olga: User, api_for: Api) -> None:
    client = api_for(olga)
    halves = [read(client, "prompts", split=split) for split in ("train", "held_out")]
    assert [{row["split"] for row in half} for half in halves if half] == [
        {split} for split, half in zip(("train", "held_out"), halves, strict=True) if half
    ]
    assert sum(map(len, halves)) == 3


@pytest.mark.parametrize("name", LISTS)
def test_a_filter_that_is_not_in_the_list_is_refused(
    project: Project, zed: User, api_for: Api, name: str
) -> None:
    for query in ("pk=1", "page_size=0", "page_size=201", "cursor=bzE9MQ", "cursor=cD1h"):
        field = query.partition("=")[0]
        answer = api_for(zed).get(f"{DESK}{name}/?{query}")
        assert answer.status_code == 400 and list(answer.json()["errors"]) == [field], query


def test_pages_meet_every_row_once_whatever_is_added(
    lived: Project, olga: User, api_for: Api
) -> None:
    client = api_for(olga)
    there = [row["id"] for row in read(client, "pairs")]
    answer = client.get(f"{DESK}pairs/?page_size=2").json()
    met = [row["id"] for row in answer["results"]]
    make_pair(lived, 77)
    answer = client.get(answer["next"]).json()
    met += [row["id"] for row in answer["results"]]
    assert met == there and answer["next"] is None
    back = client.get(answer["previous"]).json()
    assert [row["id"] for row in back["results"]] == there[:2]


def test_imports_and_exports_are_one_list(project: Project, zed: User, api_for: Api) -> None:
    jobs: list[Import | Export] = []
    version = freezing.freeze(project)
    for _ in range(3):
        jobs.append(Import.objects.create(project=project, state="held"))
        jobs.append(Export.objects.create(project=project, version=version, format="trl"))
    client, met, address = api_for(zed), list[dict[str, Any]](), f"{DESK}jobs/?page_size=4"
    while address:
        answer = client.get(address).json()
        met, address = met + answer["results"], answer["next"]
    assert [job["id"] for job in met] == [str(job.uuid) for job in reversed(jobs)]
    assert {client.get(job["url"]).status_code for job in met} == {200}
    assert [job["kind"] for job in read(client, "jobs", kind="import")] == ["import"] * 3
    assert read(client, "jobs", state="done") == []


def test_the_projects_of_a_person_with_their_role(
    project: Project, ann: User, root: User, eve: User, api_for: Api
) -> None:
    told = {
        name: [
            (one["slug"], one["role"]) for one in client.get("/api/v1/projects/").json()["results"]
        ]
        for name, client in (("ann", api_for(ann)), ("root", api_for(root)), ("eve", api_for(eve)))
    }
    assert told == {"ann": [("desk", "annotator")], "root": [("desk", "admin")], "eve": []}


@pytest.mark.parametrize("name", [*LISTS, "my-votes"])
def test_more_rows_cost_no_more_statements(
    lived: Project, zed: User, ann: User, ben: User, api_for: Api, name: str
) -> None:
    client = api_for(zed)

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            read(client, name)
        return len(captured)

    freezing.freeze(lived)
    Import.objects.create(project=lived)
    cast(lived, zed)
    few = statements()
    for i in range(10, 13):
        make_pair(lived, i)
        for user in (ann, ben, zed):
            cast(lived, user)
        Import.objects.create(project=lived)
        freezing.freeze(lived)
        person(f"new-{i}", project=lived, role="annotator")
    Flag.objects.create(pair=lived.pairs.latest("pk"), annotator=ben, kind="unsafe")
    assert statements() <= few
    assert few <= 13
