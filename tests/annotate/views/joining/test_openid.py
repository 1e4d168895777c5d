"""Signing in through an identity provider: who comes in, and everything that must not let in."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.models import User
from django.test import Client

from annotate.models import AuditEntry, ExternalIdentity, Membership
from annotate.people.joining import openid_connect, second_factor
from tests.annotate.views.joining import identity_provider
from tests.annotate.views.joining.identity_provider import CLIENT, SECRET, IdentityProvider

pytestmark = [pytest.mark.django_db, pytest.mark.database]
LOGIN, BEGIN, BACK = "/accounts/login/", "/accounts/openid/", "/accounts/openid/back/"
CONNECT, DISCONNECT = "/accounts/openid/connect/", "/accounts/openid/disconnect/"
ACCOUNT = "/accounts/password/"


@pytest.fixture
def provider(settings):
    openid_connect.forget()
    with identity_provider.running() as here:
        settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = here.url, CLIENT
        settings.OIDC_CLIENT_SECRET, settings.OIDC_NAME = SECRET, "Acme"
        yield here
    openid_connect.forget()


@pytest.fixture
def connected(provider, ann) -> User:
    ExternalIdentity.objects.create(user=ann, issuer=provider.url, subject="s-1")
    return ann


def sent(client: Client, address: str = BEGIN, **data: str) -> str:
    """Where the page leads that our form answers with."""
    page = client.post(address, data)
    assert page.status_code == 200, page.text
    return html.unescape(re.search(r'content="0;url=([^"]+)"', page.text)[1])


def come_back(client: Client, provider: IdentityProvider, **data: str):
    """Sign in at the provider, and what our page says then."""
    back = provider.allow(sent(client, **data))
    parts = urlsplit(back)
    assert parts.path == BACK
    return client.get(f"{parts.path}?{parts.query}")


def who(client: Client) -> str | None:
    key = client.session.get("_auth_user_id")
    return User.objects.get(pk=key).username if key else None


def test_who_is_connected_comes_in_and_lands_where_they_wanted_to(client, provider, connected):
    assert "Sign in with Acme" in client.get(LOGIN).text
    answer = come_back(client, provider, next="/projects/desk/")
    assert (answer.status_code, answer["Location"]) == (302, "/projects/desk/")
    assert who(client) == "ann"
    assert client.session.get_expiry_age() > 24 * 3600
    entry = AuditEntry.objects.latest("pk")
    assert (entry.action, entry.details) == ("sign-in", {"by": "openid-back"})


def test_without_a_provider_there_is_neither_button_nor_page(client, client_for, ann):
    assert "Sign in with" not in client.get(LOGIN).text
    assert "Sign in with" not in client_for(ann).get(ACCOUNT).text
    assert client.post(BEGIN).status_code == 404 and client.get(BACK).status_code == 404
    assert client_for(ann).post(CONNECT).status_code == 404


def test_nobody_is_sent_to_another_site_afterwards(client, provider, connected):
    answer = come_back(client, provider, next="https://evil.example/")
    assert answer["Location"] == "/"


def test_elliptic_curves_are_believed_as_well(client, provider, connected):
    provider.algorithm = "ES256"
    come_back(client, provider)
    assert who(client) == "ann"


def test_keys_that_were_changed_are_read_again(client, provider, connected, monkeypatch):
    come_back(client, provider)
    client.logout()
    provider.ec = ec.generate_private_key(ec.SECP256R1())
    provider.kid, provider.algorithm = "two", "ES256"
    assert "does not hold" in come_back(client, provider).text, "not asked again so soon"
    monkeypatch.setattr(openid_connect, "ASKED_AGAIN", 0)
    come_back(client, provider)
    assert who(client) == "ann"


HOSTILE = {
    "the nonce of another": {"changes": {"nonce": "other"}},
    "no nonce": {"changes": {"nonce": None}},
    "another audience": {"changes": {"aud": "another-program"}},
    "several audiences and no azp": {"changes": {"aud": [CLIENT, "other"]}},
    "issued to another": {"changes": {"aud": [CLIENT, "other"], "azp": "other"}},
    "another issuer": {"changes": {"iss": "https://evil.example"}},
    "over long ago": {"changes": {"exp": 1}},
    "of the future": {"changes": {"iat": 4_000_000_000}},
    "without an end": {"changes": {"exp": None}},
    "of nobody": {"changes": {"sub": ""}},
    "a subject that is no text": {"changes": {"sub": 7}},
    "a subject without end": {"changes": {"sub": "x" * 256}},
    "a subject that no database holds": {"changes": {"sub": "a\0b"}},
    "a nonce that is not ASCII": {"changes": {"nonce": "é"}},
    "a curve's point beside the curve": {"algorithm": "ES256", "odd": {"x": "AAAA", "y": "AAAA"}},
    "a key without numbers": {"odd": {"n": 7}},
    "no signature": {"algorithm": "none"},
    "signed with the public key": {"algorithm": "HS256"},
    "signed by an unknown key": {"header": {"kid": "unknown"}},
    "an answer without an end": {"broken": "huge"},
    "no JSON": {"broken": "text"},
    "no object": {"broken": "list"},
    "a provider that is away": {"broken": "away"},
    "a redirect": {"broken": "moved"},
    "an endpoint that anybody can read": {"says": {"token_endpoint": "http://192.0.2.1/token"}},
    "keys of a file": {"says": {"jwks_uri": "file:///etc/passwd"}},
    "an address that is none": {"says": {"jwks_uri": "https://["}},
    "no keys": {"says": {"jwks_uri": None}},
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_does_not_hold_lets_nobody_in(client, provider, connected, hostile):
    back = urlsplit(provider.allow(sent(client)))
    openid_connect.forget()
    for name, value in hostile.items():
        setattr(provider, name, value)
    answer = client.get(f"{back.path}?{back.query}")
    assert answer.status_code == 400 and who(client) is None
    assert 'role="alert"' in answer.text and "Traceback" not in answer.text
    assert AuditEntry.objects.latest("pk").action == "sign-in-failed"


def test_a_description_of_another_issuer_is_refused(client, provider, connected):
    provider.says = {"issuer": "https://evil.example"}
    answer = client.post(BEGIN)
    assert answer.status_code == 502 and "another provider" in answer.text


def test_an_answer_works_once_and_in_the_browser_that_asked(client, provider, connected):
    back = urlsplit(provider.allow(sent(client)))
    address = f"{back.path}?{back.query}"
    other = Client()
    assert other.get(address).status_code == 400 and who(other) is None
    sent(other)
    assert "another sign-in" in other.get(address).text and who(other) is None
    assert client.get(address).status_code == 302 and who(client) == "ann"
    client.logout()
    assert client.get(address).status_code == 400 and who(client) is None


def test_of_who_never_comes_back_little_is_kept(client, client_for, provider, connected):
    sent(client)
    assert client.session.get_expiry_age() <= 600
    signed_in = client_for(connected)
    sent(signed_in)
    assert signed_in.session.get_expiry_age() > 24 * 3600


def test_an_answer_that_comes_too_late_is_not_taken(client, provider, connected, monkeypatch):
    back = urlsplit(provider.allow(sent(client)))
    monkeypatch.setattr(openid_connect, "PENDING_SECONDS", -1)
    assert "took too long" in client.get(f"{back.path}?{back.query}").text


def test_a_state_of_any_letters_is_refused(client, provider, connected):
    sent(client)
    assert "another sign-in" in client.get(BACK, {"state": "\u00e9\0", "code": "x"}).text
    assert client.get(BACK).status_code == 400


@pytest.mark.parametrize(
    "address", ["a\0@example.org", "no address", 7, "x" * 300 + "@example.org"]
)
def test_an_odd_address_makes_no_account(client, provider, settings, address):
    settings.OIDC_CREATE, settings.OIDC_DOMAINS = True, ["example.org"]
    provider.person["email"] = address
    assert "has not verified your mail address" in come_back(client, provider).text
    assert not User.objects.exists()


def test_who_refuses_there_is_told_so_here(client, provider, connected):
    state = dict(parse_qsl(urlsplit(sent(client)).query))["state"]
    answer = client.get(BACK, {"state": state, "error": "access_denied"})
    assert "Acme did not sign you in." in answer.text and who(client) is None


def test_a_mail_address_alone_opens_nobodys_account(client, provider, ann):
    User.objects.filter(pk=ann.pk).update(email="ada@example.org")
    answer = come_back(client, provider)
    assert "nobody here is connected" in answer.text and who(client) is None


def test_a_closed_account_stays_closed(client, provider, connected):
    User.objects.filter(pk=connected.pk).update(is_active=False)
    come_back(client, provider)
    assert who(client) is None


def test_an_account_is_connected_with_the_password_and_disconnected_again(
    client_for, client, provider, ann
):
    ann.set_password("a good password")
    ann.save()
    mine = client_for(ann)
    assert mine.post(CONNECT, {"password": "wrong"})["Location"] == ACCOUNT
    assert "not your current password" in mine.get(ACCOUNT).text
    back = urlsplit(provider.allow(sent(mine, CONNECT, password="a good password")))
    assert mine.get(f"{back.path}?{back.query}")["Location"] == ACCOUNT
    assert "signs you in as ada@example.org" in mine.get(ACCOUNT).text
    assert AuditEntry.objects.filter(action="openid-connected").exists()
    come_back(client, provider)
    assert who(client) == "ann"
    mine.post(DISCONNECT)
    client.logout()
    come_back(client, provider)
    assert who(client) is None


def test_one_account_there_opens_one_here(client_for, provider, connected, ben):
    ben.set_password("a good password")
    ben.save()
    his = client_for(ben)
    back = urlsplit(provider.allow(sent(his, CONNECT, password="a good password")))
    page = his.get(f"{back.path}?{back.query}", follow=True)
    assert "connected with somebody else here" in page.text
    assert ExternalIdentity.objects.get().user == connected


def test_an_account_is_connected_only_for_who_asked(client_for, client, provider, ann, ben):
    ann.set_password("a good password")
    ann.save()
    mine = client_for(ann)
    back = urlsplit(provider.allow(sent(mine, CONNECT, password="a good password")))
    mine.force_login(ben)
    mine.get(f"{back.path}?{back.query}")
    assert not ExternalIdentity.objects.exists()


def test_unknown_people_get_accounts_only_where_the_operator_admits_their_domain(
    client, provider, settings
):
    settings.OIDC_CREATE = True
    assert "none of the domains" in come_back(client, provider).text
    settings.OIDC_DOMAINS = ["example.org"]
    provider.person["email_verified"] = False
    assert "has not verified your mail address" in come_back(client, provider).text
    provider.person |= {"email_verified": True, "email": "ada@sub.example.org"}
    assert "none of the domains" in come_back(client, provider).text
    provider.person["email"] = "ada@Example.org"
    come_back(client, provider)
    made = User.objects.get(username="ada")
    assert who(client) == "ada" and not made.has_usable_password()
    assert not (made.is_staff or made.is_superuser or Membership.objects.filter(user=made).exists())
    client.logout()
    come_back(client, provider)
    assert who(client) == "ada" and User.objects.filter(username__startswith="ada").count() == 1


def test_a_new_account_never_takes_somebodys_name(client, provider, settings, ann):
    settings.OIDC_CREATE, settings.OIDC_DOMAINS = True, ["example.org"]
    provider.person["preferred_username"] = "ann"
    come_back(client, provider)
    assert who(client) not in (None, "ann")


def test_who_has_no_password_stays_connected(client, provider, settings):
    settings.OIDC_CREATE, settings.OIDC_DOMAINS = True, ["example.org"]
    come_back(client, provider)
    client.post(DISCONNECT)
    assert "Choose a password first" in client.get(ACCOUNT).text
    assert ExternalIdentity.objects.exists()


def test_a_second_factor_here_is_asked_for_unless_the_providers_counts(
    client, provider, connected, settings
):
    second_factor.begin(connected)
    device = second_factor.begun(connected)
    device.confirmed = True
    device.save()
    answer = come_back(client, provider, next="/projects/desk/")
    assert answer.status_code == 200 and "/projects/desk/" in answer.text and who(client) is None
    settings.OIDC_SECOND_FACTOR = True
    come_back(client, provider)
    assert who(client) == "ann" and second_factor.verified(connected, client.session)
    settings.OIDC_SECOND_FACTOR = False
    assert not second_factor.verified(connected, client.session)


def test_sign_ins_are_limited_by_network(client, provider, connected):
    for _ in range(50):
        sent(client)
    assert client.post(BEGIN).status_code == 429
    assert client.post(BEGIN, REMOTE_ADDR="192.0.2.9").status_code == 200
