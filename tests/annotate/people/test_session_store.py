"""Who asks is read with their session and the project, anew by every request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.models import Membership, Project
from annotate.people import session_store
from tests.conftest import PASSWORD

GUIDELINES = "/projects/desk/guidelines/"
pytestmark = pytest.mark.django_db
ClientFor = Callable[[User], Client]


def test_session_person_project_and_role_are_one_statement(
    client_for: ClientFor, ann: User, project: Project
) -> None:
    client = client_for(ann)
    client.get(GUIDELINES)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert client.get(GUIDELINES).status_code == 200
    texts = [query["sql"] for query in asked]
    read_by = {
        table: [number for number, text in enumerate(texts) if f"{table} " in text]
        for table in ("django_session", "auth_user", "annotate_project")
    }
    assert list(read_by.values()) == [[0]] * 3


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda ann: Session.objects.all().delete(), 302),
        (lambda ann: Session.objects.update(expire_date="2020-01-01T00:00:00Z"), 302),
        (lambda ann: User.objects.filter(pk=ann.pk).update(is_active=False), 302),
        (lambda ann: (ann.set_password("another phrase"), ann.save()), 302),
        (lambda ann: Membership.objects.filter(user=ann).update(active=False), 404),
        (lambda ann: Project.objects.update(slug="elsewhere"), 404),
    ],
    ids=["session gone", "expired", "account closed", "password", "put out", "project renamed"],
)
def test_what_was_taken_away_is_gone_with_the_next_request(
    client_for: ClientFor, ann: User, end: Callable[[User], object], status: int
) -> None:
    client = client_for(ann)
    for _ in range(2):
        assert client.get(GUIDELINES).status_code == 200
    end(ann)
    for _ in range(2):
        assert client.get(GUIDELINES).status_code == status


def test_a_session_that_passed_to_somebody_else_is_theirs(
    client_for: ClientFor, ann: User, eve: User
) -> None:
    client = client_for(ann)
    for _ in range(2):
        assert client.get(GUIDELINES).status_code == 200
    other = client_for(eve)
    theirs = Session.objects.get(pk=other.session.session_key)
    Session.objects.filter(pk=client.session.session_key).update(session_data=theirs.session_data)
    for _ in range(2):
        assert client.get(GUIDELINES).status_code == 404


def test_signing_in_as_somebody_else_in_the_same_browser_is_seen_at_once(
    client_for: ClientFor, ann: User, ben: User
) -> None:
    client = client_for(ann)
    client.get(GUIDELINES)
    client.logout()
    assert client.login(username="ben", password=PASSWORD)
    for _ in range(2):
        assert client.get(GUIDELINES).wsgi_request.user == ben


def test_sessions_are_removed_once_they_have_expired(
    client_for: ClientFor, ann: User, ben: User, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = [client_for(ben) for _ in range(3)]
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    client = client_for(ann)
    monkeypatch.setattr(session_store, "DROPPED", 2)
    assert [session_store.drop_expired_sessions() for _ in past] == [2, 1, 0]
    assert client.get(GUIDELINES).status_code == 200
