"""People of a project: roles, places, passwords, and links to join."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from annotate.models import ApiToken, Invitation, Membership, Project
from annotate.people.joining.invitation_links import invite
from annotate.sample.colleagues import colleague as sample_colleague
from annotate.sample.simulated_votes import join
from tests.conftest import PASSWORD

PEOPLE = "/projects/desk/people/"
INVITE = f"{PEOPLE}invite/"
SEVERAL = f"{PEOPLE}invite-several/"
ACCOUNT = {"username": "nora", "password": "a long enough sentence"}
ClientFor = Callable[[User], Client]


def place(user: User) -> Membership:
    return Membership.objects.get(user=user)


def member(user: User) -> str:
    return f"{PEOPLE}{place(user).pk}/"


def link_for(project: Project, by: User, role: str = "annotator", **fields: Any) -> str:
    return f"/invitations/{invite(project, Invitation(role=role, **fields), by=by)}/"


def links_in(response: HttpResponse | str) -> list[str]:
    """The links on a page, or in a mail, without their host."""
    text = response if isinstance(response, str) else response.content.decode()
    kinds = "invitations|accounts/forgotten"
    return list(dict.fromkeys(re.findall(rf"http://testserver(/(?:{kinds})/[^<\s]+)", text)))


@pytest.fixture
def mails(settings: Settings) -> list[EmailMessage]:
    """The mails that a configured server was given."""
    settings.EMAIL_URL, settings.ALLOWED_HOSTS = "smtp://localhost", ["testserver"]
    return mail.outbox


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


def test_a_password_link_is_shown_once_and_works_once(
    client_for: ClientFor, zed: User, ann: User
) -> None:
    admin, annotator, guest = client_for(zed), client_for(ann), Client()
    ApiToken.issue(ann)
    (link,) = links_in(admin.post(member(ann), {"reset": "yes"}))
    assert link not in admin.get(PEOPLE).content.decode()
    assert annotator.get("/projects/").status_code == 200, "nothing has changed yet"
    form = guest.get(link, follow=True)
    assert "For <b>ann</b>" in form.content.decode()
    address = form.redirect_chain[-1][0]
    weak = guest.post(address, {"password": "12345678"}).content.decode()
    assert "too common" in weak
    assert guest.post(address, {"password": "a new long sentence"}).status_code == 302
    assert guest.get("/projects/").status_code == 200, "signed in"
    assert annotator.get("/projects/").status_code == 302, "old sessions have ended"
    assert not ApiToken.objects.filter(user=ann).exists()
    ann.refresh_from_db()
    assert ann.check_password("a new long sentence")
    assert "no longer works" in Client().get(link, follow=True).content.decode()


def test_a_password_link_ends_with_the_next_sign_in(
    client_for: ClientFor, zed: User, ann: User
) -> None:
    (link,) = links_in(client_for(zed).post(member(ann), {"reset": "yes"}))
    client_for(ann).post("/accounts/login/", {"username": "ann", "password": PASSWORD})
    User.objects.filter(pk=ann.pk).update(last_login=timezone.now())
    assert "no longer works" in Client().get(link, follow=True).content.decode()


def test_resetting_a_password_is_no_way_into_other_projects(
    client_for: ClientFor, zed: User, ann: User, root: User
) -> None:
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann, role="admin")
    desk = Project.objects.get(slug="desk")
    Membership.objects.create(project=desk, user=root, role="annotator")
    for user in (ann, root):
        target = f"{PEOPLE}{Membership.objects.get(project=desk, user=user).pk}/"
        response = client_for(zed).post(target, {"reset": "yes"})
        assert response.status_code == 403
        assert not links_in(response)


def test_an_invitation_link_is_shown_once(client_for: ClientFor, zed: User) -> None:
    client = client_for(zed)
    (link,) = links_in(client.post(INVITE, {"role": "reviewer", "note": "Nora"}))
    again = client.get(PEOPLE).content.decode()
    assert link not in again
    assert "Nora" in again
    assert Client().get(link).status_code == 200


def test_each_line_of_names_gets_a_link_of_its_own(client_for: ClientFor, zed: User) -> None:
    note = "Nora\n\n  Ömer \nNora\nbo@example.org"
    response = client_for(zed).post(INVITE, {"role": "annotator", "note": note, "days": "30"})
    assert len(links_in(response)) == 3
    assert [one.note for one in Invitation.objects.order_by("pk")] == [
        *("Nora", "Ömer", "bo@example.org")
    ]
    last = Invitation.objects.latest("pk")
    assert timedelta(days=29) < last.expires_at - timezone.now() <= timedelta(days=30)
    assert response.content.decode().count("<svg") >= 3, "each has a QR code"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"role": "king"},
        {"role": "annotator", "note": "x" * 121},
        {"role": "annotator", "note": "\n".join(map(str, range(101)))},
        {"role": "annotator", "days": "0"},
        {"role": "annotator", "days": "91"},
    ],
)
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
        ({"username": "zed"}, "Take another one"),
        ({"username": "Zed"}, "Take another one"),
        ({"username": "no spaces"}, "without spaces"),
        ({"password": "password"}, "too common"),
        ({"username": "noralind", "password": "noralind1"}, "too similar"),
        ({"email": "nobody"}, "valid email"),
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


def test_a_link_for_several_lets_in_as_many_as_it_has_places(
    client_for: ClientFor, zed: User, ann: User, project: Project
) -> None:
    (link,) = links_in(client_for(zed).post(SEVERAL, {"label": "class", "places": "2"}))
    client_for(ann).post(link)
    assert Invitation.objects.get().joined == 0, "a member takes no place"
    for name in ("one", "two"):
        assert Client().post(link, ACCOUNT | {"username": name}).status_code == 302
    assert "2 of 2" not in client_for(zed).get(PEOPLE).content.decode(), "no open one is left"
    assert Client().post(link, ACCOUNT | {"username": "three"}).status_code == 404
    assert {place(User.objects.get(username=name)).role for name in ("one", "two")} == {"annotator"}
    assert not User.objects.filter(username="three").exists()


@pytest.mark.parametrize("places", ["", "1", "1001", "many"])
def test_a_link_for_several_says_how_many(client_for: ClientFor, zed: User, places: str) -> None:
    assert client_for(zed).post(SEVERAL, {"places": places}).status_code == 400
    assert not Invitation.objects.exists()


def test_links_go_out_by_mail_to_the_lines_that_are_addresses(
    client_for: ClientFor, zed: User, mails: list[EmailMessage]
) -> None:
    data = {"role": "annotator", "note": "bo@example.org\nNora", "mailed": "on"}
    shown = client_for(zed).post(INVITE, data)
    (sent,) = mails
    assert sent.to == ["bo@example.org"]
    assert links_in(str(sent.body))[0] in links_in(shown)
    assert shown.content.decode().count(">mailed<") == 1


def test_without_a_mail_server_nothing_about_mail_is_offered(
    client_for: ClientFor, zed: User, client: Client
) -> None:
    data = {"role": "annotator", "note": "bo@example.org", "mailed": "on"}
    shown = client_for(zed).post(INVITE, data).content.decode()
    assert not mail.outbox
    assert ">mailed<" not in shown and 'name="domain"' not in shown
    assert "admin of your project" in client.get("/accounts/forgotten/").content.decode()


def test_where_any_host_name_is_believed_nothing_is_mailed(
    client_for: ClientFor, zed: User, mails: list[EmailMessage], settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    client_for(zed).post(INVITE, {"role": "annotator", "note": "bo@example.org", "mailed": "on"})
    assert not mails


def test_an_invitation_begins_with_the_public_address(
    client_for: ClientFor, zed: User, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://pairs.example"
    page = client_for(zed).post(INVITE, {"role": "annotator"}).content.decode()
    assert "https://pairs.example/invitations/" in page and "testserver" not in page


def test_a_mail_server_that_is_away_loses_no_link(
    client_for: ClientFor, zed: User, settings: Settings
) -> None:
    settings.EMAIL_URL, settings.ALLOWED_HOSTS = "smtp://x", ["testserver"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    data = {"role": "annotator", "note": "bo@example.org", "mailed": "on"}
    shown = client_for(zed).post(INVITE, data)
    assert "not mailed" in shown.content.decode()
    assert len(links_in(shown)) == 1


def test_a_link_for_a_domain_asks_for_mail_there(
    client_for: ClientFor, zed: User, mails: list[EmailMessage]
) -> None:
    data = {"places": "5", "domain": "@Example.org"}
    (link,) = links_in(client_for(zed).post(SEVERAL, data))
    guest = Client()
    for wrong in ("bo@example.com", "bo@mail.example.org", "bo@example.org@evil.net"):
        guest.post(link, {"email": wrong})
    guest.post(link, ACCOUNT)
    assert not mails and not User.objects.filter(username="nora").exists()
    guest.post(link, {"email": "bo@EXAMPLE.org"})
    (confirm,) = links_in(str(mails[0].body))
    other = {"email": "else@where.net"}
    assert guest.post(confirm, ACCOUNT | other).status_code == 302
    assert User.objects.get(username="nora").email == "bo@example.org"
    assert client_for(zed).get(f"{link}forged/").status_code == 404


def test_a_link_for_a_domain_mails_a_bounded_number(
    client: Client, zed: User, project: Project, mails: list[EmailMessage]
) -> None:
    link = link_for(project, zed, places=2, domain="example.org")
    pages = [client.post(link, {"email": f"{n}@example.org"}).content.decode() for n in range(9)]
    assert len(mails) == 6
    assert "could not be sent" in pages[-1]


def test_an_announcement_reaches_everybody_but_its_author_until_they_have_read_it(
    client_for: ClientFor, zed: User, ann: User, olga: User, project: Project
) -> None:
    join(project, sample_colleague(0, seed=0))
    said = client_for(zed).post(
        f"{PEOPLE}announce/", {"announcement": "New guidelines"}, follow=True
    )
    assert "Announced to 2 people" in said.content.decode()
    assert "1" in client_for(ann).get("/projects/desk/me/").content.decode()
    assert "New guidelines" in client_for(olga).get("/projects/desk/me/").content.decode()
    assert client_for(ann).post(f"{PEOPLE}announce/", {"announcement": "x"}).status_code == 403
    assert client_for(zed).post(f"{PEOPLE}announce/", {}).status_code == 400


def test_a_password_link_ends_with_the_rights_of_the_admin_who_made_it(
    client_for: ClientFor, zed: User, ann: User
) -> None:
    (link,) = links_in(client_for(zed).post(member(ann), {"reset": "yes"}))
    other = Project.objects.create(slug="other", name="Other")
    Membership.objects.create(project=other, user=ann, role="admin")
    assert Client().get(link).status_code == 404
    Membership.objects.filter(project=other).delete()
    assert Client().get(link, follow=True).status_code == 200
    User.objects.filter(pk=zed.pk).update(is_active=False)
    assert Client().get(link).status_code == 404


def test_a_confirmed_address_lets_one_person_in(
    client: Client, zed: User, project: Project, mails: list[EmailMessage]
) -> None:
    link = link_for(project, zed, places=5, domain="example.org")
    client.post(link, {"email": "bo@example.org"})
    client.post(link, {"email": "BO@example.org"})
    first, second = (links_in(str(one.body))[0] for one in mails)
    assert Client().post(first, ACCOUNT).status_code == 302
    for again in (first, second):
        assert Client().post(again, ACCOUNT | {"username": "mallory"}).status_code == 404
    assert not User.objects.filter(username="mallory").exists()
    assert Invitation.objects.get().joined == 1


def test_a_project_with_a_line_break_in_its_name_can_invite_by_mail(
    client_for: ClientFor, zed: User, project: Project, mails: list[EmailMessage]
) -> None:
    Project.objects.filter(pk=project.pk).update(name="Desk\nBcc: everybody@example.org")
    client_for(zed).post(INVITE, {"role": "annotator", "note": "bo@example.org", "mailed": "on"})
    (sent,) = mails
    assert sent.recipients() == ["bo@example.org"] and "\n" not in sent.subject


def test_a_member_has_actions_and_a_name_in_exports(client_for: ClientFor, zed: User) -> None:
    page = client_for(zed).get(PEOPLE).content.decode()
    assert ">Actions</th>" in page and ">Place</th>" not in page
    assert 'name in exports <span class="mono pseudonym">' in page
    assert "the text is on My progress" in page
