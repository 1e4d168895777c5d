"""Where a project asks for it, nobody is offered a pair before they confirmed the guidelines."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import Assignment, Membership, Pair, Project
from annotate.people import guidelines
from annotate.sample import simulated_votes

MakePairs = Callable[..., list[Pair]]
ClientFor = Callable[[User], Client]
LABEL = "/projects/desk/label/"
READ = "/projects/desk/guidelines/read/"
NEXT = "/api/v1/projects/desk/next/"


@pytest.fixture
def strict(project: Project, make_pairs: MakePairs) -> Project:
    project.read_guidelines = True
    project.save()
    make_pairs(6)
    return project


def test_a_project_does_not_ask_unless_it_is_set(
    project: Project, ann: User, make_pairs: MakePairs
) -> None:
    make_pairs(1)
    assert queue.blocked_by(project, ann) == ""
    assert queue.next_pair(project, ann) is not None


def test_the_screen_shows_the_guidelines_and_one_button_then_the_pair(
    strict: Project, ann: User, client_for: ClientFor
) -> None:
    client = client_for(ann)
    page = client.get(LABEL).content.decode()
    assert "Please read the guidelines first" in page and "Be <em>kind</em>." in page
    assert "<article" not in page and 'data-letter="y"' in page
    shown = client.post(READ, {"version": "1"}, follow=True).content.decode()
    assert shown.count("<article") == 2
    assert queue.blocked_by(strict, ann) == ""


def test_confirming_is_for_one_person(strict: Project, ann: User, ben: User) -> None:
    guidelines.confirm(strict, ann, version=1)
    assert (queue.blocked_by(strict, ann), queue.blocked_by(strict, ben)) == ("", "guidelines")


def test_a_new_version_is_confirmed_again_and_shows_what_changed(
    strict: Project, ann: User, zed: User, client_for: ClientFor
) -> None:
    guidelines.confirm(strict, ann, version=1)
    guidelines.revise(strict, "Be *kind*. Be <brief>.", author=zed)
    client = client_for(ann)
    page = client.get(LABEL).content.decode()
    assert "The guidelines have changed" in page
    assert "<ins>" in page and "<brief>" not in page
    client.post(READ, {"version": "1"})
    assert queue.blocked_by(strict, ann) == "guidelines"
    client.post(READ, {"version": "2"})
    client.post(READ, {"version": "1"})
    assert queue.blocked_by(strict, ann) == ""


@pytest.mark.parametrize("version", ["", "0", "2", "x", "9" * 30])
def test_only_a_version_that_exists_can_be_confirmed(
    strict: Project, ann: User, client_for: ClientFor, version: str
) -> None:
    assert client_for(ann).post(READ, {"version": version}).status_code == 400
    assert queue.blocked_by(strict, ann) == "guidelines"


def test_a_waiting_page_goes_on_once_the_person_confirmed_elsewhere(
    strict: Project, ann: User, zed: User, client_for: ClientFor
) -> None:
    client = client_for(ann)
    stamp = client.get(LABEL).context["stamp"]
    htmx = {"HX-Request": "true"}
    assert client.get(LABEL, {"seen": stamp}, headers=htmx).status_code == 204
    guidelines.revise(strict, "Be brief.", author=zed)
    assert client.get(LABEL, {"seen": stamp}, headers=htmx).status_code == 200
    guidelines.confirm(strict, ann, version=2)
    assert b"<article" in client.get(LABEL, {"seen": stamp}, headers=htmx).content


def test_a_vote_on_a_pair_held_before_is_kept_and_no_other_pair_follows(
    project: Project, ann: User, make_pairs: MakePairs, client_for: ClientFor
) -> None:
    make_pairs(3)
    lease = queue.next_pair(project, ann)
    assert lease is not None
    Project.objects.update(read_guidelines=True)
    answer = client_for(ann).post(
        f"{LABEL}{lease.token}/vote/", {"vote": "1"}, headers={"HX-Request": "true"}
    )
    assert b"Please read the guidelines first" in answer.content
    assert Assignment.objects.get(pk=lease.pk).state == "voted"


def test_rest_says_what_holds_a_person_up(
    strict: Project, ann: User, api_for: Callable[[User], APIClient]
) -> None:
    api = api_for(ann)
    answer = api.post(NEXT, {}, format="json")
    assert answer.status_code == 403 and answer.json()["code"] == "guidelines"
    assert "guidelines" in answer.json()["detail"]
    guidelines.confirm(strict, ann, version=1)
    assert api.post(NEXT, {}, format="json").status_code == 200
    Membership.objects.filter(user=ann).update(paused_at="2026-01-01T00:00Z")
    assert api.post(NEXT, {}, format="json").json()["code"] == "paused"
    Project.objects.update(archived=True)
    assert api.post(NEXT, {}, format="json").status_code == 204


def test_there_is_nothing_to_read_where_nothing_is_written(strict: Project, ann: User) -> None:
    strict.guidelines = ""
    assert queue.blocked_by(strict, ann) == ""


def test_a_superuser_without_a_place_confirms_as_well(
    strict: Project, root: User, client_for: ClientFor
) -> None:
    client = client_for(root)
    assert "Please read the guidelines first" in client.get(LABEL).content.decode()
    page = client.post(READ, {"version": "1"}, follow=True).content.decode()
    assert page.count("<article") == 2


def test_simulated_colleagues_read_nothing(strict: Project) -> None:
    assert simulated_votes.cast_votes(strict, annotators=2, votes=2, seed=1) == 2
