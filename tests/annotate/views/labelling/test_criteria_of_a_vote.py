"""Criteria in the body of the page's vote, and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.exporting import FORMATS, freezing
from annotate.exporting.formats import csv_format
from annotate.models import Assignment, Pair, Project
from annotate.views.labelling.criteria import answers, rows

HTMX = {"HX-Request": "true"}
ClientFor = Callable[[User], Client]
MakePairs = Callable[..., list[Pair]]


@pytest.fixture
def own(project: Project, ann: User, make_pairs: MakePairs) -> Assignment:
    """A pair on somebody's screen, with two criteria."""
    make_pairs(2)
    project.criteria = ["Helpful", "Correct"]
    project.save()
    lease = queue.next_pair(project, ann)
    assert lease
    return lease


def cast(client: Client, own: Assignment, **said: object) -> int:
    address = f"/projects/desk/label/{own.token}/vote/"
    status = client.post(address, {"vote": "2", **said}, headers=HTMX).status_code
    own.refresh_from_db()
    return status


def other(own: Assignment) -> str:
    return "b" if own.left == "a" else "a"


@pytest.mark.parametrize(
    "said",
    [
        {"criteria": '{"Helpful": "right", "Correct": "tie"}'},
        {"criterion-0": "right", "criterion-1": "tie"},
    ],
    ids=["by name", "by the fields of a page without scripts"],
)
def test_the_body_of_a_vote_has_its_criteria(
    client_for: ClientFor, ann: User, own: Assignment, said: dict[str, str]
) -> None:
    assert cast(client_for(ann), own, **said) == 200
    assert own.choice == own.left
    assert own.criteria == {"Helpful": other(own), "Correct": "tie"}
    assert own.criteria_asked == "with_pair"


def test_a_vote_without_them_is_stored_and_marked(
    client_for: ClientFor, ann: User, own: Assignment
) -> None:
    assert cast(client_for(ann), own) == 200
    assert (own.choice, own.criteria, own.criteria_asked) == (own.left, {}, "unasked")


def test_a_project_without_criteria_marks_nothing(
    client_for: ClientFor, ann: User, project: Project, own: Assignment
) -> None:
    Project.objects.update(criteria=[])
    assert cast(client_for(ann), own) == 200
    assert own.criteria_asked == ""


def test_a_vote_that_waited_is_not_lost_for_a_criterion_that_has_gone(
    client_for: ClientFor, ann: User, own: Assignment
) -> None:
    Project.objects.update(criteria=["Correct"])
    said = json.dumps({"Helpful": "left", "Correct": "left"})
    assert cast(client_for(ann), own, criteria=said) == 200
    assert own.criteria == {"Correct": own.left}


@pytest.mark.parametrize("criteria", ["{", '{"Helpful": "up"}', '{"Helpful": ["left"]}', '"x"'])
def test_what_is_no_comparison_is_refused(
    client_for: ClientFor, ann: User, own: Assignment, criteria: str
) -> None:
    assert cast(client_for(ann), own, criteria=criteria) == 400
    assert own.state == "reserved"


def test_undo_shows_what_was_compared_and_keeps_none_of_it(
    client_for: ClientFor, ann: User, own: Assignment
) -> None:
    client = client_for(ann)
    cast(client, own, criteria='{"Helpful": "right"}')
    answer = client.post("/projects/desk/label/undo/", {"last": str(own.token)}, headers=HTMX)
    given = [(row.name, row.given, row.active) for row in answer.context["criteria"]]
    assert given == [("Helpful", "right", False), ("Correct", "", True)]
    own.refresh_from_db()
    assert (own.criteria, own.criteria_asked) == ({}, "")


def test_criteria_have_the_keys_of_the_vote_on_every_scale(
    project: Project, own: Assignment
) -> None:
    keys = {scale: [answer.keys for answer in answers(scale)] for scale in ("binary", "seven")}
    assert keys["seven"] == ["2 ArrowLeft 1 3", "4 ArrowDown", "6 ArrowRight 5 7"]
    assert keys["binary"] == ["1 ArrowLeft", "ArrowDown", "2 ArrowRight"]
    assert [row.shown for row in rows(project, own)] == [True, False]


def test_exports_tell_when_criteria_were_asked_and_say_nothing_where_there_are_none(
    client_for: ClientFor, ann: User, project: Project, own: Assignment
) -> None:
    cast(client_for(ann), own, criteria='{"Helpful": "left"}')
    version = freezing.freeze(project)
    told = {"include_simulated": False}
    (line,) = FORMATS["votes"].lines(version, part="votes", **told)
    assert json.loads(line)["criteria_asked"] == "with_pair"
    table = b"".join(csv_format.lines(version, part="votes", **told)).decode()
    (row,) = csv_format.read(table.splitlines(keepends=True))
    assert (row["criteria_asked"], row["criteria"]) == ("with_pair", own.criteria)
    Assignment.objects.update(criteria_asked="")
    assert b"criteria_asked" not in b"".join(FORMATS["votes"].lines(version, part="votes", **told))
    assert b"criteria_asked" not in b"".join(csv_format.lines(version, part="votes", **told))
