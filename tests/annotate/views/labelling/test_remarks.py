"""What may be said beside a vote or a skip, from the screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from annotate import queue
from annotate.models import Assignment, Flag, Pair, Project
from annotate.views.labelling.remarks import lettered

HTMX = {"HX-Request": "true"}
ClientFor = Callable[[User], Client]
MakePairs = Callable[..., list[Pair]]


@pytest.fixture
def mine(project: Project, ann: User, make_pairs: MakePairs) -> Assignment:
    make_pairs(2)
    project.reason_chips = ["accuracy", "style"]
    project.criteria = ["helpful"]
    project.save()
    found = queue.next_pair(project, ann)
    assert found
    return found


def address(assignment: Assignment, act: str) -> str:
    return f"/projects/desk/label/{assignment.token}/{act}/"


def test_reasons_a_comment_and_criteria_follow_a_vote(
    client_for: ClientFor, ann: User, mine: Assignment
) -> None:
    queue.vote_side(ann, mine.token, "left")
    said = {"reasons": ["style"], "comment": "Too long.", "criterion-0": "right"}
    for _ in "12":
        answer = client_for(ann).post(address(mine, "remark"), said, headers=HTMX)
        assert answer.status_code == 204
    mine.refresh_from_db()
    assert (mine.reasons, mine.comment) == (["style"], "Too long.")
    assert mine.criteria == {"helpful": "b" if mine.left == "a" else "a"}


@pytest.mark.parametrize("said", [{"reasons": "nonsense"}, {"criterion-0": "up"}])
def test_what_the_project_does_not_offer_is_refused(
    client_for: ClientFor, ann: User, mine: Assignment, said: dict[str, str]
) -> None:
    queue.vote_side(ann, mine.token, "left")
    assert client_for(ann).post(address(mine, "remark"), said).status_code == 400


def test_a_vote_taken_back_keeps_no_remark(
    client_for: ClientFor, ann: User, mine: Assignment
) -> None:
    answer = client_for(ann).post(address(mine, "remark"), {"comment": "x"}, headers=HTMX)
    assert answer.status_code == 409


def test_a_skip_gets_its_reason_afterwards(
    client_for: ClientFor, ann: User, mine: Assignment
) -> None:
    queue.skip(ann, mine.token)
    client = client_for(ann)
    assert client.post(address(mine, "skip-reason"), {"reason": "bored"}).status_code == 400
    assert client.post(address(mine, "skip-reason"), {"reason": "hard"}).status_code == 302
    mine.refresh_from_db()
    assert mine.skip_reason == "hard"


def test_a_warning_is_filed_once(client_for: ClientFor, ann: User, mine: Assignment) -> None:
    client = client_for(ann)
    for _ in "12":
        assert client.post(address(mine, "flag"), {"kind": "pii"}, headers=HTMX).status_code == 204
    assert client.post(address(mine, "flag"), {"kind": "x"}, headers=HTMX).status_code == 400
    assert [flag.kind for flag in Flag.objects.all()] == ["pii"]


@pytest.mark.parametrize("act", ["remark", "skip-reason", "flag"])
def test_nobody_speaks_for_somebody_else(
    client_for: ClientFor, ben: User, mine: Assignment, act: str
) -> None:
    said = {"comment": "x", "reason": "hard", "kind": "pii"}
    assert client_for(ben).post(address(mine, act), said).status_code == 404


def test_every_chip_has_a_key_of_its_own_that_the_screen_does_not_use() -> None:
    chips = ["accuracy", "follows the request", "clarity", "safety", "style", "sure", "under"]
    letters = [letter for _, letter in lettered(chips)]
    assert len(set(letters)) == len(chips)
    assert not set(letters) & set("defghnrsu")
    assert dict(lettered(chips))["accuracy"] == "a"
