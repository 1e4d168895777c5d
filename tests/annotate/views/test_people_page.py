"""People of a project: roles, places, passwords, and links to join."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from annotate.models import ApiToken, Invitation, Membership, Project
from annotate.people.memberships import invite
from annotate.sample.colleagues import colleague as sample_colleague
from annotate.sample.simulated_votes import join

PEOPLE = "/projects/desk/people/"
INVITE = f"{PEOPLE}invite/"
ACCOUNT = {
    "username": "nora",
    "password1": "a long enough sentence",
    "password2": "a long enough sentence",
}
ClientFor = Callable[[User], Client]


def place(user: User) -> Membership:
    return Membership.objects.get(user=user)


def member(user: User) -> str:
    return f"{PEOPLE}{place(user).pk}/"


def link_for(project: Project, by: User, role: str = "annotator") -> str:
    return f"/invitations/{invite(project, Invitation(role=role), by=by)}/"


def test_an_admin_sees_everybody(client_for: ClientFor, zed: User, ann: User, olga: User) -> None:
    html = client_for(zed).get(PEOPLE).content.decode()
    assert all(name in html for name in ("zed", "ann", "olga"))
    assert client_for(zed).post(PEOPLE).status_code == 405


@pytest.mark.parametrize(("name", "status"), [("ann", 403), ("olga", 403), ("eve", 404)])
def test_only_admins_manage_people(
    client_for: ClientFor, request: pytest.FixtureRequest, ben: User, name: str, status: int
) -> None:
    client = client_for(request.getfixturevalue(name))
    assert client.get(PEOPLE).status_code == status
    assert client.post(INVITE, {"role": "admin"}).status_code == status
    assert client.post(member(ben), {"role": "admin"}).status_code == status
    assert client.post(f"{PEOPLE}invitations/1/").status_code == status
    assert place(ben).role == "annotator"
    assert not Invitation.objects.exists()


def test_an_admin_changes_a_role(client_for: ClientFor, zed: User, ann: User) -> None:
    for _ in "12":
        response = client_for(zed).post(member(ann), {"role": "reviewer"})
        assert response.status_code == 302
    assert place(ann).role == "reviewer"


@pytest.mark.parametrize("role", ["", "king", "superuser"])
def test_a_role_that_does_not_exist_is_refused(
    client_for: ClientFor, zed: User, ann: User, role: str
) -> None:
    assert client_for(zed).post(member(ann), {"role": role}).status_code == 400
    assert place(ann).role == "annotator"


def test_people_are_changed_by_post(client_for: ClientFor, zed: User, ann: User) -> None:
    assert client_for(zed).get(member(ann)).status_code == 405
    assert client_for(zed).get(INVITE).status_code == 405


def test_nobody_changes_their_own_place(client_for: ClientFor, zed: User) -> None:
    for data in ({"role": "annotator"}, {"active": "no"}):
        assert client_for(zed).post(member(zed), data).status_code == 403
    assert (place(zed).role, place(zed).active) == ("admin", True)


def test_a_simulated_colleague_gets_no_password_and_no_role(
    client_for: ClientFor, zed: User, project: Project
) -> None:
    colleague = join(project, sample_colleague(0, seed=0)).user
    for data in ({"reset": "yes"}, {"role": "admin"}, {"active": "no"}):
        assert client_for(zed).post(member(colleague), data).status_code == 403
    colleague.refresh_from_db()
    assert not colleague.has_usable_password()
    assert (place(colleague).role, place(colleague).active) == ("annotator", True)


def test_nobody_can_take_a_simulated_colleagues_name(
    client: Client, zed: User, project: Project
) -> None:
    name = join(project, sample_colleague(0, seed=0)).user.username
    User.objects.filter(username=name).delete()
    client.post(link_for(project, zed), ACCOUNT | {"username": name})
    assert not User.objects.filter(username=name).exists()


def test_members_of_other_projects_are_out_of_reach(
    client_for: ClientFor, zed: User, eve: User
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=eve, role="annotator")
    assert client_for(zed).post(member(eve), {"active": "no"}).status_code == 404
    assert place(eve).active


def test_a_deactivated_member_is_out_until_reactivated(
    client_for: ClientFor, zed: User, ann: User
) -> None:
    admin, annotator = client_for(zed), client_for(ann)
    admin.post(member(ann), {"active": "no"})
    assert annotator.get("/projects/desk/label/").status_code == 404
    admin.post(member(ann), {"active": "yes"})
    assert annotator.get("/projects/desk/label/").status_code == 200


def test_a_new_password_is_shown_once_and_works(
    client_for: ClientFor, zed: User, ann: User
) -> None:
    admin, annotator = client_for(zed), client_for(ann)
    ApiToken.issue(ann)
    html = admin.post(member(ann), {"reset": "yes"}).content.decode()
    password = re.findall(r'<code class="mono">(.+?)</code>', html)[0]
    ann.refresh_from_db()
    assert ann.check_password(password)
    assert password not in admin.get(PEOPLE).content.decode()
    assert annotator.get("/projects/").status_code == 302, "old sessions have ended"
    assert not ApiToken.objects.filter(user=ann).exists()


def test_resetting_a_password_is_no_way_into_other_projects(
    client_for: ClientFor, zed: User, ann: User, root: User
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann, role="admin")
    desk = Project.objects.get(slug="desk")
    Membership.objects.create(project=desk, user=root, role="annotator")
    for user in (ann, root):
        before = user.password
        target = f"{PEOPLE}{Membership.objects.get(project=desk, user=user).pk}/"
        assert client_for(zed).post(target, {"reset": "yes"}).status_code == 403
        user.refresh_from_db()
        assert user.password == before


def test_an_invitation_link_is_shown_once(client_for: ClientFor, zed: User) -> None:
    client = client_for(zed)
    html = client.post(INVITE, {"role": "reviewer", "note": "Nora"}).content.decode()
    link = re.findall(r"http://testserver(/invitations/[^<]+)", html)[0]
    again = client.get(PEOPLE).content.decode()
    assert link not in again
    assert "Nora" in again
    assert Client().get(link).status_code == 200


@pytest.mark.parametrize("data", [{}, {"role": "king"}, {"role": "annotator", "note": "x" * 121}])
def test_an_invitation_that_makes_no_sense_is_refused(
    client_for: ClientFor, zed: User, data: dict[str, str]
) -> None:
    assert client_for(zed).post(INVITE, data).status_code == 400
    assert not Invitation.objects.exists()


def test_a_guest_makes_an_account_and_joins(client: Client, zed: User, project: Project) -> None:
    response = client.post(link_for(project, zed, "reviewer"), ACCOUNT)
    assert response.headers["Location"] == "/projects/desk/label/"
    nora = User.objects.get(username="nora")
    assert place(nora).role == "reviewer"
    assert not nora.is_staff
    assert client.get("/projects/desk/label/").status_code == 200


def test_a_link_works_for_one_person(client: Client, zed: User, project: Project) -> None:
    link = link_for(project, zed)
    client.post(link, ACCOUNT)
    assert Client().get(link).status_code == 404
    assert Client().post(link, {**ACCOUNT, "username": "mallory"}).status_code == 404
    assert not User.objects.filter(username="mallory").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"username": "zed"}, "already exists"),
        ({"username": "Zed"}, "already exists"),
        ({"password1": "password", "password2": "password"}, "too common"),
        ({"password2": "something else"}, "match"),
    ],
)
def test_an_account_that_cannot_be_made_leaves_the_link_open(
    client: Client, zed: User, project: Project, changed: dict[str, str], message: str
) -> None:
    link = link_for(project, zed)
    assert message in client.post(link, ACCOUNT | changed).content.decode()
    assert client.get(link).status_code == 200
    assert User.objects.count() == 1


def test_a_signed_in_person_joins_with_their_account(
    client_for: ClientFor, eve: User, zed: User, project: Project
) -> None:
    client = client_for(eve)
    link = link_for(project, zed)
    assert "Join as eve" in client.get(link).content.decode()
    client.post(link)
    assert place(eve).role == "annotator"


def test_a_link_raises_a_role_and_never_lowers_it(
    client_for: ClientFor, ann: User, olga: User, zed: User, project: Project
) -> None:
    client_for(ann).post(link_for(project, zed, "reviewer"))
    client_for(olga).post(link_for(project, zed, "annotator"))
    assert (place(ann).role, place(olga).role) == ("reviewer", "reviewer")


def test_a_link_does_not_bring_a_deactivated_member_back(
    client_for: ClientFor, ann: User, zed: User, project: Project
) -> None:
    Membership.objects.filter(user=ann).update(active=False)
    response = client_for(ann).post(link_for(project, zed, "admin"))
    assert response.status_code == 404
    assert (place(ann).active, place(ann).role) == (False, "annotator")
    assert Invitation.objects.open().exists(), "somebody else can still use it"


@pytest.mark.parametrize("change", [{"active": False}, {"role": "reviewer"}])
def test_a_link_ends_with_the_rights_of_the_admin_who_made_it(
    client: Client, zed: User, project: Project, change: dict[str, object]
) -> None:
    link = link_for(project, zed, "admin")
    Membership.objects.filter(user=zed).update(**change)
    assert client.get(link).status_code == 404
    assert client.post(link, ACCOUNT).status_code == 404
    assert not User.objects.filter(username="nora").exists()


def test_a_superusers_link_needs_no_membership(
    client: Client, root: User, project: Project
) -> None:
    link = link_for(project, root)
    assert client.get(link).status_code == 200


def test_expired_revoked_and_made_up_links_do_not_work(
    client: Client, client_for: ClientFor, zed: User, project: Project
) -> None:
    expired, revoked = link_for(project, zed), link_for(project, zed)
    first, second = Invitation.objects.order_by("pk")
    first.expires_at = timezone.now() - timedelta(seconds=1)
    first.save()
    for _ in "12":
        assert client_for(zed).post(f"{PEOPLE}invitations/{second.pk}/").status_code == 302
    for link in (expired, revoked, "/invitations/made-up/"):
        assert client.get(link).status_code == 404
        assert client.post(link, ACCOUNT).status_code == 404
    assert not User.objects.filter(username="nora").exists()
