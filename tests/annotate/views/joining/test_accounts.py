"""Signing in and out, the one-time link, one's own password."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from annotate.models import Project
from annotate.people.joining.sign_in_link import path_of
from annotate.views.joining import password_reset, sign_in_limits
from tests.conftest import PASSWORD

LOGIN = "/accounts/login/"
LOGOUT = "/accounts/logout/"
CHANGE = "/accounts/password/"
ClientFor = Callable[[User], Client]


def sign_in(client: Client, password: str = PASSWORD, **extra: str) -> int:
    response = client.post(LOGIN, {"username": "ann", "password": password}, **extra)
    return response.status_code


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_a_member_signs_in_and_lands_in_the_only_project(client: Client, ann: User) -> None:
    response = client.post(LOGIN, {"username": "ann", "password": PASSWORD}, follow=True)
    assert response.redirect_chain[-1] == ("/projects/desk/label/", 302)


def test_a_person_with_several_projects_lands_on_the_list(client: Client, root: User) -> None:
    Project.objects.create(slug="one", name="One")
    Project.objects.create(slug="two", name="Two")
    client.force_login(root)
    assert client.get("/").headers["Location"] == "/projects/"


def test_a_wrong_password_says_so(client: Client, ann: User) -> None:
    response = client.post(LOGIN, {"username": "ann", "password": "wrong"})
    assert "correct username and password" in response.content.decode()
    assert not signed_in(client)


def test_visitors_sign_in_by_the_same_form_on_both_pages(client: Client, db: None) -> None:
    for address in ("/", "/accounts/login/"):
        page = client.get(address).content.decode()
        assert "Forgotten your password?" in page and "js/passwords" in page, address


def test_one_s_own_account_asks_for_the_current_and_a_new_password(
    client_for: ClientFor, ann: User
) -> None:
    page = client_for(ann).get("/accounts/password/").content.decode()
    labels = re.findall(r"<label[^>]*>([^<]+)", page)
    assert labels.count("Current password") == 2 and labels.count("New password") == 1


def test_a_deactivated_account_cannot_sign_in(client: Client, ann: User) -> None:
    User.objects.update(is_active=False)
    sign_in(client)
    assert not signed_in(client)


def test_after_five_failures_even_the_right_password_waits(client: Client, ann: User) -> None:
    for _ in range(sign_in_limits.LIMIT):
        assert sign_in(client, "wrong") == 200
    assert sign_in(client) == 429
    assert not signed_in(client)
    assert sign_in(client, REMOTE_ADDR="10.0.0.9") == 302


def test_one_persons_failures_do_not_keep_another_out(client: Client, ann: User, ben: User) -> None:
    for _ in range(sign_in_limits.LIMIT):
        sign_in(client, "wrong")
    response = client.post(LOGIN, {"username": "ben", "password": PASSWORD})
    assert response.status_code == 302


@pytest.mark.parametrize("written", [" ann", "\tann", "ann ", "\uff41nn", "\u3000ann"])
def test_however_a_name_is_written_its_failures_are_one_count(
    client: Client, ann: User, written: str
) -> None:
    for n in range(sign_in_limits.LIMIT):
        client.post(LOGIN, {"username": (written, "ann")[n % 2], "password": "wrong"})
    for name in (written, "ann"):
        assert client.post(LOGIN, {"username": name, "password": PASSWORD}).status_code == 429


def test_many_names_from_one_address_are_limited(client: Client, ann: User) -> None:
    for n in range(sign_in_limits.ADDRESS_LIMIT):
        client.post(LOGIN, {"username": f"name-{n}", "password": "wrong"})
    assert sign_in(client) == 429
    assert sign_in(client, REMOTE_ADDR="10.0.0.9") == 302


def test_all_addresses_of_one_ipv6_network_are_one(client: Client, ann: User) -> None:
    for n in range(sign_in_limits.LIMIT):
        sign_in(client, "wrong", REMOTE_ADDR=f"2001:db8:0:1::{n}")
    assert sign_in(client, REMOTE_ADDR="2001:db8:0:1:ffff::1") == 429
    assert sign_in(client, REMOTE_ADDR="2001:db8:0:2::1") == 302


def test_a_stranger_who_tries_a_name_from_everywhere_does_not_lock_its_owner_out(
    client: Client, ann: User
) -> None:
    assert sign_in(client) == 302
    client.post(LOGOUT)
    for n in range(sign_in_limits.NAME_LIMIT):
        sign_in(Client(), "wrong", REMOTE_ADDR=f"10.0.{n}.9")
    assert sign_in(Client(), REMOTE_ADDR="10.9.9.9") == 429, "a browser that nobody knows"
    assert sign_in(client, REMOTE_ADDR="10.9.9.9") == 302, "the one she signed in with before"


def test_a_known_browser_has_as_few_tries_and_a_forged_cookie_none_more(
    client: Client, ann: User
) -> None:
    sign_in(client)
    client.post(LOGOUT)
    for n in range(sign_in_limits.LIMIT):
        assert sign_in(client, "wrong", REMOTE_ADDR=f"10.0.0.{n}") == 200
    assert sign_in(client, REMOTE_ADDR="10.0.1.1") == 429
    client.cookies[sign_in_limits.COOKIE] = "forged"
    assert sign_in(client, REMOTE_ADDR="10.0.1.1") == 302, "as from any unknown one"


def test_a_forged_proxy_header_does_not_reset_the_count(client: Client, ann: User) -> None:
    for n in range(sign_in_limits.LIMIT):
        sign_in(client, "wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{n}")
    assert sign_in(client, HTTP_X_FORWARDED_FOR="10.0.0.99") == 429


def test_behind_a_trusted_proxy_each_client_counts_alone(
    client: Client, ann: User, settings: Settings
) -> None:
    settings.TRUST_PROXY = True
    for _ in range(sign_in_limits.LIMIT):
        sign_in(client, "wrong", HTTP_X_FORWARDED_FOR="6.6.6.6, 10.0.0.1")
    assert sign_in(client, HTTP_X_FORWARDED_FOR="10.0.0.1") == 429
    assert sign_in(client, HTTP_X_FORWARDED_FOR="10.0.0.1, 10.0.0.2") == 302


def test_signing_in_clears_the_failures(client: Client, ann: User) -> None:
    for _ in range(2):
        for _ in range(sign_in_limits.LIMIT - 1):
            sign_in(client, "wrong")
        assert sign_in(client) == 302
        client.logout()


def test_signing_in_goes_to_pages_of_this_site_only(client: Client, ann: User) -> None:
    data = {"username": "ann", "password": PASSWORD, "next": "https://evil.example/"}
    assert client.post(LOGIN, data).headers["Location"] == "/"


def test_a_signed_in_person_is_sent_on(client_for: ClientFor, ann: User) -> None:
    response = client_for(ann).get(LOGIN, {"next": "/projects/"})
    assert response.headers["Location"] == "/projects/"


def test_a_fragment_asked_for_after_the_session_ended_moves_the_whole_page(client: Client) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/projects/desk/label/"}
    response = client.get(LOGIN, headers=headers)
    assert response.headers["HX-Redirect"] == f"{LOGIN}?next=%2Fprojects%2Fdesk%2Flabel%2F"


def test_signing_out_has_to_be_posted(client_for: ClientFor, ann: User) -> None:
    client = client_for(ann)
    assert client.get(LOGOUT).status_code == 405
    assert signed_in(client)
    client.post(LOGOUT)
    assert not signed_in(client)
    assert client.post(LOGOUT).status_code == 302


def test_the_one_time_link_signs_in_once(client: Client, root: User) -> None:
    link = path_of(root)
    assert client.get(link).headers["Location"] == "/"
    assert signed_in(client)
    second = Client()
    assert second.get(link).status_code == 404
    assert not signed_in(second)


def test_the_one_time_link_expires(client: Client, root: User) -> None:
    assert client.get(path_of(root, minutes=-1)).status_code == 404


def test_the_one_time_link_ends_with_any_other_sign_in(client: Client, root: User) -> None:
    link = path_of(root)
    User.objects.update(last_login=timezone.now() - timedelta(seconds=1))
    assert client.get(link).status_code == 404


@pytest.mark.parametrize(
    "extra",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7"},
        {"HTTP_FORWARDED": "for=192.0.2.7"},
        {"REMOTE_ADDR": ""},
    ],
)
def test_the_one_time_link_works_on_this_machine_only(
    client: Client, root: User, extra: dict[str, str]
) -> None:
    link = path_of(root)
    assert client.get(link, **extra).status_code == 404
    assert client.get(link, REMOTE_ADDR="::1").status_code == 302


@pytest.mark.parametrize("token", ["x", "a:b:c", "%00"])
def test_a_made_up_link_is_not_found(client: Client, db: None, token: str) -> None:
    assert client.get(f"/accounts/enter/{token}/").status_code == 404


def test_the_one_time_link_cannot_be_posted(client: Client, root: User) -> None:
    assert client.post(path_of(root)).status_code == 405


def test_a_deactivated_account_has_no_one_time_link(client: Client, root: User) -> None:
    link = path_of(root)
    User.objects.update(is_active=False)
    assert client.get(link).status_code == 404


def change(client: Client, old: str, new: str) -> str:
    data = {"old_password": old, "password": new}
    return client.post(CHANGE, data, follow=True).content.decode()


def test_changing_the_password_ends_other_sessions(client_for: ClientFor, ann: User) -> None:
    here, elsewhere = client_for(ann), client_for(ann)
    assert "Your password is changed" in change(here, PASSWORD, "another long sentence")
    assert here.get("/projects/").status_code == 200
    assert elsewhere.get("/projects/").status_code == 302


def test_a_weak_password_is_refused(client_for: ClientFor, ann: User) -> None:
    html = change(client_for(ann), PASSWORD, "12345678")
    assert "too common" in html
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)


def test_the_old_password_is_asked_for(client_for: ClientFor, ann: User) -> None:
    assert "not your password" in change(client_for(ann), "wrong", "another long sentence")


def test_visitors_cannot_change_a_password(client: Client, db: None) -> None:
    assert client.get(CHANGE).headers["Location"].startswith(LOGIN)
    assert client.delete(CHANGE).status_code in (302, 405)


def test_sign_up_is_off(client: Client, db: None) -> None:
    for path in ("/accounts/signup/", "/accounts/register/"):
        assert client.get(path).status_code in (302, 404)


FORGOTTEN = "/accounts/forgotten/"


@pytest.fixture
def mails(settings: Settings) -> list[EmailMessage]:
    """The mails that a configured server was given."""
    settings.EMAIL_URL, settings.ALLOWED_HOSTS = "smtp://localhost", ["testserver"]
    return mail.outbox


def test_a_forgotten_password_is_replaced_by_a_link_in_the_mail(
    client: Client, ann: User, mails: list[EmailMessage]
) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    pages = []
    for email in ("ANN@example.org", "nobody@example.org"):
        page = client.post(FORGOTTEN, {"email": email}).content.decode().replace(email, "")
        pages.append(re.sub(r'Token": "\w+', "", page))
    assert pages[0] == pages[1], "nobody learns who has an account"
    (sent,) = mails
    assert sent.to == ["ann@example.org"]
    link = str(sent.body).split("http://testserver")[1].split()[0]
    address = client.get(link, follow=True).redirect_chain[-1][0]
    client.post(address, {"password": "another long sentence"})
    assert signed_in(client)


def test_links_in_mail_lead_where_the_installation_is_reached_and_not_where_a_request_came_in(
    client: Client, ann: User, mails: list[EmailMessage], settings: Settings
) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = "https://pairs.example/desk", ["*"]
    client.post(FORGOTTEN, {"email": "ann@example.org"}, headers={"Host": "evil.example"})
    assert "\n\nhttps://pairs.example/desk/accounts/forgotten/" in str(mails[0].body)


def test_requests_for_such_mail_are_limited(
    client: Client, ann: User, mails: list[EmailMessage]
) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    answers = [client.post(FORGOTTEN, {"email": "ann@example.org"}).status_code for _ in range(6)]
    assert answers == [200] * password_reset.MOST_REQUESTS + [429]
    assert len(mails) == password_reset.MOST_REQUESTS


def test_the_mail_address_of_an_account_is_changed_by_its_password(
    client_for: ClientFor, ann: User
) -> None:
    client = client_for(ann)
    for password in ("wrong", PASSWORD):
        client.post(CHANGE, {"email": "ann@example.org", "current": password})
        ann.refresh_from_db()
        assert ann.email == ("ann@example.org" if password == PASSWORD else "")
    assert ann.check_password(PASSWORD)


def test_clients_that_one_socket_for_both_families_shows_as_ipv6_are_not_one(
    client: Client, ann: User
) -> None:
    for _ in range(sign_in_limits.LIMIT):
        sign_in(client, "wrong", REMOTE_ADDR="::ffff:10.0.0.1")
    assert sign_in(client, REMOTE_ADDR="10.0.0.1") == 429, "the same one"
    assert sign_in(client, REMOTE_ADDR="::ffff:10.0.0.2") == 302


def test_who_has_a_similar_name_is_not_known_to_the_other_account(
    client: Client, ann: User
) -> None:
    User.objects.create_user("ANN", password="a password of her own")
    twin = {"username": "ANN", "password": "a password of her own"}
    tries = []
    for _ in range(3):
        assert client.post(LOGIN, twin).status_code == 302
        client.post(LOGOUT)
        tries += [sign_in(client, "wrong") for _ in range(2)]
    assert tries == [200] * sign_in_limits.LIMIT + [429]


def test_one_mailbox_gets_a_bounded_number_of_links(
    client: Client, ann: User, mails: list[EmailMessage]
) -> None:
    User.objects.filter(pk=ann.pk).update(email="ann@example.org")
    for n in range(9):
        asked = {"email": ("ann@example.org", "Ann@Example.org")[n % 2]}
        assert client.post(FORGOTTEN, asked, REMOTE_ADDR=f"10.0.{n}.1").status_code == 200
    assert len(mails) == password_reset.MOST_REQUESTS
