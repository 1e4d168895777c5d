"""Every endpoint of the annotation API, for every kind of person, at home and abroad."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import RequestFactory
from rest_framework.test import APIClient

from annotate import queue
from annotate.models import Membership, Pair, Project
from annotate.people.permissions import project_or_404

MakePairs = Callable[..., list[Pair]]
ROLES = ("annotator", "reviewer", "admin")
HIGHEST = {"ann": "annotator", "olga": "reviewer", "zed": "admin", "root": "admin"}


@pytest.fixture
def cast(ann: User, olga: User, zed: User, eve: User, root: User) -> dict[str, User]:
    return {user.username: user for user in (ann, olga, zed, eve, root)}


def ask(user: User | AnonymousUser, slug: str, role: str) -> Project:
    request = RequestFactory().get("/")
    request.user = user
    return project_or_404(request, slug, role)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", HIGHEST)
def test_a_member_gets_the_project_up_to_their_role(
    project: Project, cast: dict[str, User], name: str, role: str
) -> None:
    if ROLES.index(role) <= ROLES.index(HIGHEST[name]):
        assert ask(cast[name], "desk", role) == project
    else:
        with pytest.raises(PermissionDenied):
            ask(cast[name], "desk", role)


def test_it_leaves_the_role_on_the_project(project: Project, olga: User) -> None:
    assert ask(olga, "desk", "annotator").role == "reviewer"


@pytest.mark.parametrize("role", ROLES)
def test_a_stranger_learns_nothing(project: Project, eve: User, role: str) -> None:
    said = set()
    for slug in ("desk", "no-such-project"):
        with pytest.raises(Http404) as raised:
            ask(eve, slug, role)
        said.add(str(raised.value))
    assert len(said) == 1


def test_nobody_and_former_members_are_strangers(project: Project, zed: User) -> None:
    Membership.objects.filter(user=zed).update(active=False)
    for user in (zed, AnonymousUser()):
        with pytest.raises(Http404):
            ask(user, "desk", "annotator")


@pytest.mark.parametrize("name", ["ann", "olga", "zed", "root", "eve", None])
@pytest.mark.parametrize("where", ["own", "foreign"])
@pytest.mark.parametrize("call", ["next", "vote", "skip", "undo"])
def test_every_call_for_every_person(
    project: Project,
    cast: dict[str, User],
    ben: User,
    make_pairs: MakePairs,
    api_for: Callable[[User], APIClient],
    call: str,
    where: str,
    name: str | None,
) -> None:
    """`own`: their project and, if they can have one, their lease; `foreign`: somebody else's."""
    abroad = Project.objects.create(slug="abroad", name="Abroad")
    Membership.objects.create(project=abroad, user=ben)
    make_pairs(3)
    make_pairs(3, project=abroad)
    client = api_for(cast[name]) if name else APIClient()
    home = project if where == "own" else abroad
    member = name in HIGHEST and (where == "own" or name == "root")
    if call == "next":
        response = client.post(f"/api/v1/projects/{home.slug}/next/", {}, format="json")
    else:
        own = where == "own" and name in HIGHEST
        lease = queue.next_pair(home, cast[name] if own and name else ben)
        if lease is None:
            Membership.objects.get_or_create(project=home, user=ben)
            lease = queue.next_pair(home, ben)
        assert lease is not None
        member = own
        body = {"choice": "left"} if call == "vote" else {}
        response = client.post(f"/api/v1/assignments/{lease.token}/{call}/", body, format="json")
    expected = 401 if name is None else 200 if member else 404
    assert response.status_code == expected, response.content
