"""The loss of a right with the next vote: nothing about rights is remembered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import ApiToken, Assignment, Membership, Pair, Project
from annotate.models.roles import Role

ClientFor = Callable[[User], Client]
MakePairs = Callable[..., list[Pair]]
HTMX = {"HX-Request": "true"}


class Voter:
    """A person at the page, or a script with their token, who leases and votes again and again."""

    def __init__(
        self, project: Project, user: User, send: Callable[[str, Assignment], int]
    ) -> None:
        self.project, self.user, self.send = project, user, send

    def vote(self) -> int:
        lease = queue.next_pair(self.project, self.user)
        assert lease
        self.last = lease
        return self.send(self.project.slug, lease)

    def stored(self) -> bool:
        self.last.refresh_from_db()
        return self.last.state == Assignment.State.VOTED


@pytest.fixture
def at_the_page(project: Project, ann: User, client_for: ClientFor, make_pairs: MakePairs) -> Voter:
    make_pairs(4)
    client = client_for(ann)

    def send(slug: str, lease: Assignment) -> int:
        path = f"/projects/{slug}/label/{lease.token}/vote/"
        return client.post(path, {"vote": "1"}, headers=HTMX).status_code

    voter = Voter(project, ann, send)
    assert voter.vote() == 200
    return voter


@pytest.fixture
def token(ann: User) -> tuple[ApiToken, str]:
    return ApiToken.issue(ann)


@pytest.fixture
def by_token(
    project: Project, ann: User, token: tuple[ApiToken, str], make_pairs: MakePairs
) -> Voter:
    make_pairs(4)
    client = APIClient(headers={"Authorization": f"Token {token[1]}"})

    def send(slug: str, lease: Assignment) -> int:
        path = f"/api/v1/assignments/{lease.token}/vote/?next=1"
        return int(client.post(path, {"choice": "left"}, format="json").status_code)

    voter = Voter(project, ann, send)
    assert voter.vote() == 200
    return voter


def test_a_session_that_was_ended_elsewhere_stores_no_further_vote(at_the_page: Voter) -> None:
    Session.objects.all().delete()
    assert at_the_page.vote() in (204, 302)
    assert not at_the_page.stored()


def test_a_new_password_ends_the_session_before_the_next_vote(at_the_page: Voter) -> None:
    at_the_page.user.set_password("another one, of some length")
    at_the_page.user.save()
    at_the_page.vote()
    assert not at_the_page.stored()


def test_an_account_that_was_closed_stores_no_further_vote(at_the_page: Voter) -> None:
    User.objects.filter(pk=at_the_page.user.pk).update(is_active=False)
    at_the_page.vote()
    assert not at_the_page.stored()


def test_who_was_put_out_of_the_project_meets_a_404_with_the_next_vote(at_the_page: Voter) -> None:
    lease = queue.next_pair(at_the_page.project, at_the_page.user)
    assert lease
    Membership.objects.filter(user=at_the_page.user).update(active=False)
    assert at_the_page.send("desk", lease) == 404
    lease.refresh_from_db()
    assert lease.state == Assignment.State.RESERVED


def test_a_lower_role_closes_the_pages_of_the_higher_one_at_once(
    project: Project, ann: User, client_for: ClientFor
) -> None:
    own = Membership.objects.filter(project=project, user=ann)
    own.update(role=Role.ADMIN)
    client = client_for(ann)
    assert client.get("/projects/desk/settings/").status_code == 200
    own.update(role=Role.ANNOTATOR)
    assert client.get("/projects/desk/settings/").status_code == 403


def test_a_token_that_was_revoked_stores_no_further_vote(
    by_token: Voter, token: tuple[ApiToken, str]
) -> None:
    token[0].delete()
    assert by_token.vote() == 401
    assert not by_token.stored()


def test_a_token_of_somebody_put_out_of_the_project_stores_no_further_vote(
    by_token: Voter,
) -> None:
    lease = queue.next_pair(by_token.project, by_token.user)
    assert lease
    Membership.objects.filter(user=by_token.user).update(active=False)
    assert by_token.send("desk", lease) == 404
    lease.refresh_from_db()
    assert lease.state == Assignment.State.RESERVED
