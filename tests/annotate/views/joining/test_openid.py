"""Signing in through an identity provider: who comes in, and whose account it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from pytest_django import Settings

from annotate.audit.actions import words
from annotate.models import AuditEntry, ExternalIdentity, Membership, Project
from annotate.models.roles import Role
from annotate.people.joining import openid_accounts, openid_answers, second_factor
from annotate.views.joining.password_reset import MadeTokens
from tests.annotate.views.joining.identity_provider import (
    BACK,
    BEGIN,
    LOGIN,
    IdentityProvider,
    come_back,
    sent,
    way_back,
    who,
)
from tests.annotate.views.joining.test_second_factor import App
from tests.conftest import PASSWORD, at_once

pytestmark = [pytest.mark.django_db, pytest.mark.database]
CONNECT, DISCONNECT = "/accounts/openid/connect/", "/accounts/openid/disconnect/"
ACCOUNT, SECOND_FACTOR = "/accounts/password/", "/accounts/second-factor/"
ClientFor = Callable[[User], Client]


@pytest.fixture
def open_to_all(settings: Settings, provider: IdentityProvider) -> None:
    """The operator lets accounts be made for a domain."""
    settings.OIDC_CREATE, settings.OIDC_DOMAINS = True, ["example.org"]


def with_second_factor(user: User) -> None:
    second_factor.begin(user)
    device = second_factor.begun(user)
    assert device is not None
    device.confirmed = True
    device.save()


def test_who_is_connected_comes_in_and_lands_where_they_wanted_to(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    assert "Sign in with Acme" in client.get(LOGIN).text
    answer = come_back(client, provider, next="/projects/desk/")
    assert (answer.status_code, answer["Location"]) == (302, "/projects/desk/")
    assert who(client) == "ann"
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.details) == ("sign-in", {"by": "openid-back"})


def test_without_a_provider_there_is_neither_button_nor_page(
    client: Client, client_for: ClientFor, ann: User
) -> None:
    assert "Sign in with" not in client.get(LOGIN).text
    assert "Sign in with" not in client_for(ann).get(ACCOUNT).text
    assert client.post(BEGIN).status_code == 404 and client.get(BACK).status_code == 404
    assert client_for(ann).post(CONNECT).status_code == 404


def test_elliptic_curves_are_believed_as_well(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    provider.algorithm = "ES256"
    come_back(client, provider)
    assert who(client) == "ann"


def test_keys_that_were_changed_are_read_again_but_not_for_every_unknown_one(
    client: Client, provider: IdentityProvider, connected: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_back(client, provider)
    client.logout()
    provider.ec = ec.generate_private_key(ec.SECP256R1())
    provider.kid, provider.algorithm = "two", "ES256"
    come_back(client, provider)
    assert who(client) is None and provider.asked.count("/keys") == 1
    monkeypatch.setattr(openid_answers, "ASKED_AGAIN", 0)
    come_back(client, provider)
    assert who(client) == "ann"


def test_a_provider_that_wants_the_secret_in_the_form_gets_it_there(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    provider.says = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    come_back(client, provider)
    assert who(client) == "ann"


def test_a_client_without_a_secret_comes_in_by_pkce(
    client: Client, provider: IdentityProvider, connected: User, settings: Settings
) -> None:
    settings.OIDC_CLIENT_SECRET, provider.secret = "", None
    come_back(client, provider)
    assert who(client) == "ann"


def test_the_provider_sends_people_back_to_the_public_address(
    client: Client, provider: IdentityProvider, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://pairs.example.org"
    asked = dict(parse_qsl(urlsplit(sent(client)).query))
    assert asked["redirect_uri"] == "https://pairs.example.org/accounts/openid/back/"


def test_who_refuses_there_is_told_so_here(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    state = dict(parse_qsl(urlsplit(sent(client)).query))["state"]
    answer = client.get(BACK, {"state": state, "error": "access_denied"})
    assert "Acme did not sign you in." in answer.text and who(client) is None


def test_a_mail_address_alone_opens_nobodys_account(
    client: Client, provider: IdentityProvider, ann: User
) -> None:
    User.objects.filter(pk=ann.pk).update(email="ada@example.org")
    answer = come_back(client, provider)
    assert "nobody here is connected" in answer.text and who(client) is None


def test_a_closed_account_stays_closed(
    client: Client, provider: IdentityProvider, connected: User, open_to_all: None
) -> None:
    User.objects.filter(pk=connected.pk).update(is_active=False)
    assert "Your account here is closed." in come_back(client, provider).text
    assert who(client) is None and User.objects.count() == 1


def test_an_account_is_connected_with_the_password_and_disconnected_again(
    client_for: ClientFor, client: Client, provider: IdentityProvider, ann: User
) -> None:
    mine = client_for(ann)
    assert mine.post(CONNECT, {"password": "wrong"})["Location"] == ACCOUNT
    assert "not your current password" in mine.get(ACCOUNT).text
    assert come_back(mine, provider, CONNECT, password=PASSWORD)["Location"] == ACCOUNT
    assert "signs you in as ada@example.org" in mine.get(ACCOUNT).text
    come_back(client, provider)
    assert who(client) == "ann"
    mine.post(DISCONNECT)
    client.logout()
    come_back(client, provider)
    assert who(client) is None
    done = [entry.action for entry in AuditEntry.objects.order_by("pk") if entry.person]
    ways = ["openid-connected", "sign-in", "openid-disconnected"]
    assert done == ways
    assert all(words(action) != action for action in ways)


def test_one_account_there_opens_one_here(
    client_for: ClientFor, provider: IdentityProvider, connected: User, ben: User
) -> None:
    his = client_for(ben)
    come_back(his, provider, CONNECT, password=PASSWORD)
    assert "connected with somebody else here" in his.get(ACCOUNT).text
    assert ExternalIdentity.objects.get().user == connected


def test_an_account_is_connected_only_for_who_asked(
    client_for: ClientFor, provider: IdentityProvider, ann: User, ben: User
) -> None:
    mine = client_for(ann)
    address = way_back(mine, provider, CONNECT, password=PASSWORD)
    mine.force_login(ben)
    mine.get(address)
    assert not ExternalIdentity.objects.exists()


def test_a_password_chosen_by_a_link_ends_what_the_old_one_may_have_connected(
    client: Client, provider: IdentityProvider, connected: User, root: User
) -> None:
    token = MadeTokens(root).make_token(connected)
    name = urlsafe_base64_encode(force_bytes(connected.pk))
    page = client.get(reverse("password-choose-made", args=[name, root.pk, token]), follow=True)
    assert "signs you in no longer until you connect it again" in page.text
    client.post(page.request["PATH_INFO"], {"password": "an entirely new one"})
    assert not ExternalIdentity.objects.exists()


def test_unknown_people_get_accounts_only_where_the_operator_admits_their_domain(
    client: Client, provider: IdentityProvider, settings: Settings
) -> None:
    settings.OIDC_CREATE = True
    assert "none of the domains" in come_back(client, provider).text
    settings.OIDC_DOMAINS = ["example.org"]
    provider.person["email_verified"] = False
    assert "has not verified your mail address" in come_back(client, provider).text
    for foreign in ("ada@sub.example.org", "ada@example.org.evil.example", "ada@notexample.org"):
        provider.person |= {"email_verified": True, "email": foreign}
        assert "none of the domains" in come_back(client, provider).text
    assert not User.objects.exists()
    provider.person["email"] = "ada@Example.org"
    come_back(client, provider)
    assert who(client) == "ada"
    client.logout()
    come_back(client, provider)
    assert who(client) == "ada" and User.objects.count() == 1


def test_a_new_account_has_no_rights_whatever_the_provider_claims(
    client: Client, provider: IdentityProvider, open_to_all: None, project: Project
) -> None:
    rights = {"is_staff": True, "is_superuser": True, "groups": ["admin"], "roles": ["admin"]}
    provider.person |= rights
    assert "Acme gives you an account" in client.get(LOGIN).text
    come_back(client, provider)
    made = User.objects.get(username=who(client))
    assert not (made.is_staff or made.is_superuser or made.has_usable_password() or made.email)
    assert not Membership.objects.filter(user=made).exists()
    assert client.get("/projects/desk/").status_code == 404


def test_a_superuser_stays_one_and_nobody_becomes_one_by_coming_in(
    client: Client, provider: IdentityProvider, connected: User, root: User
) -> None:
    provider.person |= {"is_superuser": True}
    come_back(client, provider)
    assert not User.objects.get(pk=connected.pk).is_superuser
    ExternalIdentity.objects.update(user=root)
    come_back(client, provider)
    assert User.objects.get(username=who(client)).is_superuser


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("ann", "ann-"),
        ("ANN", "ANN-"),
        ("A d/a<b>", "Adab"),
        ("ﷺ" * 100, "صلى"),
        ("", "ada"),
        (7, "ada"),
    ],
)
def test_a_new_account_has_a_name_of_its_own(
    client: Client,
    provider: IdentityProvider,
    open_to_all: None,
    ann: User,
    told: object,
    name: str,
) -> None:
    provider.person["preferred_username"] = told
    come_back(client, provider)
    made = who(client)
    assert made is not None and made != "ann" and made.startswith(name) and len(made) <= 150


def test_who_has_no_password_chooses_one_shortly_after_signing_in(
    client: Client, provider: IdentityProvider, open_to_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_back(client, provider)
    client.post(DISCONNECT)
    assert "Choose a password first" in client.get(ACCOUNT).text
    assert ExternalIdentity.objects.exists()
    with monkeypatch.context() as later:
        later.setattr(openid_accounts, "LATELY", -1)
        assert "come back within ten minutes" in client.get(ACCOUNT).text
        client.post(ACCOUNT, {"password": "an entirely new one"})
        assert not User.objects.get(username="ada").has_usable_password()
    assert "Current password" not in client.get(ACCOUNT).text
    client.post(ACCOUNT, {"password": "an entirely new one"})
    assert User.objects.get(username="ada").check_password("an entirely new one")
    assert "Current password" in client.get(ACCOUNT).text
    client.post(DISCONNECT)
    assert not ExternalIdentity.objects.exists()


def test_who_has_no_password_sets_a_second_factor_up_shortly_after_signing_in(
    client: Client, provider: IdentityProvider, open_to_all: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_back(client, provider)
    with monkeypatch.context() as later:
        later.setattr(openid_accounts, "LATELY", -1)
        answer = client.post(SECOND_FACTOR, {"do": "start"})
        assert "sign in with Acme once more" in answer.text
    client.post(SECOND_FACTOR, {"do": "start"})
    app = App(client.get(SECOND_FACTOR).text)
    client.post(SECOND_FACTOR, {"do": "confirm", "code": app.code()})
    assert second_factor.device_of(User.objects.get(username="ada")) is not None


def test_a_password_that_is_there_is_asked_for_however_one_came_in(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    come_back(client, provider)
    client.post(ACCOUNT, {"password": "an entirely new one"})
    assert User.objects.get(pk=connected.pk).check_password(PASSWORD)
    assert "not your current password" in client.post(SECOND_FACTOR, {"do": "start"}).text


def test_a_second_factor_here_is_asked_for_unless_the_providers_counts(
    client: Client, provider: IdentityProvider, connected: User, settings: Settings
) -> None:
    with_second_factor(connected)
    answer = come_back(client, provider, next="/projects/desk/")
    assert answer.status_code == 200 and "/projects/desk/" in answer.text and who(client) is None
    assert AuditEntry.objects.latest("pk").action == "openid-code-asked"
    settings.OIDC_SECOND_FACTOR = True
    come_back(client, provider)
    assert who(client) == "ann"
    made = {"name": "laptop", "scopes": ["read"]}
    settings.OIDC_SECOND_FACTOR = False
    client.post("/accounts/tokens/", made)
    assert not connected.api_tokens.exists(), "no longer as good as a code"


def test_staff_who_need_a_second_factor_have_the_providers_only_while_it_counts(
    client: Client, provider: IdentityProvider, connected: User, settings: Settings
) -> None:
    Membership.objects.filter(user=connected).update(role=Role.ADMIN)
    settings.REQUIRE_TOTP = True
    come_back(client, provider)
    assert client.get("/projects/desk/").get("Location") == SECOND_FACTOR
    client.logout()
    settings.OIDC_SECOND_FACTOR = True
    come_back(client, provider)
    assert client.get("/projects/desk/").status_code == 200
    settings.OIDC_SECOND_FACTOR = False
    assert client.get("/projects/desk/").get("Location") == SECOND_FACTOR
    client.logout()
    settings.OIDC_SECOND_FACTOR = True
    client.post(LOGIN, {"username": "ann", "password": PASSWORD})
    assert client.get("/projects/desk/").get("Location") == SECOND_FACTOR, "a password is one"


@pytest.mark.django_db(transaction=True)
def test_two_answers_at_one_instant_make_one_account(
    provider: IdentityProvider, open_to_all: None
) -> None:
    people = [Client() for _ in range(4)]
    addresses = [way_back(client, provider) for client in people]
    comings = [partial(client.get, url) for client, url in zip(people, addresses, strict=True)]
    at_once(*comings)
    assert {who(client) for client in people} == {User.objects.get().username}
    assert ExternalIdentity.objects.count() == 1


def test_who_began_there_and_came_in_by_password_stays_in(
    client: Client, provider: IdentityProvider, ann: User
) -> None:
    sent(client)
    client.post("/accounts/login/", {"username": "ann", "password": PASSWORD})
    assert who(client) == "ann" and client.session.get_expiry_age() > 24 * 3600
