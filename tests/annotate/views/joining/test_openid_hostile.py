"""Signing in through an identity provider: everything that must let nobody in."""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from annotate.models import AuditEntry, ExternalIdentity
from annotate.people.joining import openid_answers, openid_connect
from annotate.views.joining import openid_pages
from annotate.webhooks.connection_deadline import certificates
from tests.annotate.views.joining import identity_provider
from tests.annotate.views.joining.identity_provider import (
    BACK,
    BEGIN,
    CLIENT,
    SECRET,
    IdentityProvider,
    come_back,
    sent,
    way_back,
    who,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "the nonce of another": ("nonce", {"changes": {"nonce": "other"}}),
    "no nonce": ("nonce", {"changes": {"nonce": None}}),
    "a nonce of other letters": ("nonce", {"changes": {"nonce": "\ud800é"}}),
    "another audience": ("token", {"changes": {"aud": "another-program"}}),
    "several audiences and no azp": ("audience", {"changes": {"aud": [CLIENT, "other"]}}),
    "issued to another": ("audience", {"changes": {"aud": [CLIENT, "other"], "azp": "other"}}),
    "another issuer": ("token", {"changes": {"iss": "https://evil.example"}}),
    "over long ago": ("token", {"changes": {"exp": 1}}),
    "over a little more than the clocks may differ": ("token", {"changes": {"exp": -61}}),
    "of the future": ("token", {"changes": {"iat": 4_000_000_000}}),
    "without an end": ("token", {"changes": {"exp": None}}),
    "of nobody": ("nobody", {"changes": {"sub": ""}}),
    "a subject that is no text": ("token", {"changes": {"sub": 7}}),
    "a subject without end": ("nobody", {"changes": {"sub": "x" * 256}}),
    "a subject that no database stores": ("nobody", {"changes": {"sub": "\ud800"}}),
    "a subject with an end inside": ("nobody", {"changes": {"sub": "s-1\0"}}),
    "no signature": ("algorithm", {"algorithm": "none"}),
    "signed with the public key": ("algorithm", {"algorithm": "HS256"}),
    "signed by another way than it says": (
        "token",
        {"algorithm": "HS256", "header": {"alg": "RS256"}},
    ),
    "signed by nothing, as if by a key": (
        "token",
        {"algorithm": "none", "header": {"alg": "RS256"}},
    ),
    "an algorithm that is a list": ("algorithm", {"header": {"alg": ["RS256"]}}),
    "a longer hash than is believed": ("algorithm", {"algorithm": "RS512"}),
    "what must be understood and is not": ("token", {"header": {"crit": ["x"], "x": 1}}),
    "a key that it brings along": (
        "key",
        {"header": {"jwk": {"kty": "oct", "k": "eA"}, "kid": "x"}},
    ),
    "an unknown key": ("key", {"header": {"kid": "unknown"}}),
    "a key whose name is a number": ("token", {"header": {"kid": 7}}),
    "no key": ("key", {"shown": []}),
    "keys that are none": ("key", {"shown": [7, None, "RSA", {}, {"kty": "RSA", "kid": "other"}]}),
    "a key without its numbers": ("token", {"shown": [{"kty": "RSA", "kid": "one"}]}),
    "a token that is no text": ("nobody", {"more": {"id_token": 7}}),
    "a token of one part": ("token", {"more": {"id_token": "e30"}}),
    "a token of half a letter": ("token", {"more": {"id_token": "\ud800.e30.e30"}}),
    "no token": ("nobody", {"more": {"id_token": None}}),
    "an answer without an end": ("away", {"broken": "huge"}),
    "a small answer that unpacks to a huge one": ("away", {"broken": "bomb"}),
    "no JSON": ("away", {"broken": "text"}),
    "JSON without a bottom": ("away", {"broken": "deep"}),
    "no object": ("away", {"broken": "list"}),
    "a provider in trouble": ("away", {"broken": "away"}),
    "a redirect": ("away", {"broken": "moved"}),
    "an endpoint that anybody can read": (
        "unsafe",
        {"says": {"token_endpoint": "http://192.0.2.1/token"}},
    ),
    "an endpoint that is no address": (
        "unsafe",
        {"says": {"token_endpoint": "https://[::1/token"}},
    ),
    "an endpoint with a name before its host": (
        "unsafe",
        {"says": {"token_endpoint": "https://login.example.org@evil.example/token"}},
    ),
    "keys of a file": ("unsafe", {"says": {"jwks_uri": "file:///etc/passwd"}}),
    "no keys": ("unsafe", {"says": {"jwks_uri": None}}),
    "another issuer's description": ("issuer", {"says": {"issuer": "https://evil.example"}}),
}


@pytest.mark.parametrize(("reason", "hostile"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_does_not_hold_lets_nobody_in(
    client: Client,
    provider: IdentityProvider,
    connected: User,
    reason: str,
    hostile: dict[str, Any],
) -> None:
    address = way_back(client, provider)
    openid_answers.forget()
    for name, value in hostile.items():
        setattr(provider, name, value)
    if provider.changes.get("exp") == -61:
        provider.changes = {"exp": int(time.time()) - 61}
    answer = client.get(address)
    assert answer.status_code == 400 and who(client) is None
    assert 'role="alert"' in answer.text
    entry = AuditEntry.objects.latest("pk")
    details = {"by": "openid-back", "reason": reason}
    assert (entry.action, entry.details) == ("sign-in-failed", details)


ODD = [None, True, 7, -1, 10**400, float("inf"), float("nan"), [], [7], {}, "é", "\ud800", "\0"]
CLAIMS = ("iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "jti")


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_of_an_odd_kind_is_no_fault_of_ours(
    client: Client, provider: IdentityProvider, connected: User, claim: str
) -> None:
    for odd in ODD:
        provider.changes = {claim: odd}
        client.logout()
        answer = come_back(client, provider)
        assert answer.status_code in (302, 400)
        # What says nothing of who, when and for whom may be left out, or lie in the past.
        harmless = claim in ("nbf", "jti", "azp", "iat") or (claim == "exp" and odd == 10**400)
        assert who(client) is None or harmless, (claim, odd)


def test_odd_mail_addresses_and_names_make_no_account_and_no_error(
    client: Client, provider: IdentityProvider, settings: Settings
) -> None:
    settings.OIDC_CREATE, settings.OIDC_DOMAINS = True, ["example.org", "\ud800.org"]
    odd = ["a@\ud800.org", "@example.org", "example.org", "a@b@example.org"]
    for address in [*ODD, *odd, "a" * 250 + "@example.org"]:
        provider.person["email"] = address
        answer = come_back(client, provider)
        assert "has not verified your mail address" in answer.text, address
    provider.person["email"] = "ada@example.org"
    for verified in [*ODD, "yes", "True", 1]:
        if verified is not True:
            provider.person["email_verified"] = verified
            come_back(client, provider)
    assert not User.objects.exists()


def test_a_weak_key_is_not_believed(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    provider.rsa = WEAK
    come_back(client, provider)
    assert who(client) is None


def test_a_key_of_another_curve_is_not_believed(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    provider.algorithm, provider.ec = "ES256", CURVE_384
    provider.shown = [provider.public(CURVE_384, "ES384") | {"alg": "ES256"}]
    come_back(client, provider)
    assert who(client) is None


CURVE_384 = ec.generate_private_key(ec.SECP384R1())


def test_of_two_keys_without_a_name_none_is_guessed(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    one = provider.public(provider.rsa, "RS256")
    provider.header, provider.shown = {"kid": "one"}, [one, one]
    come_back(client, provider)
    assert who(client) is None


def test_another_issuers_answer_is_not_taken(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    address = way_back(client, provider)
    assert client.get(f"{address}&iss=https://evil.example").status_code == 400
    assert who(client) is None
    come_back(client, provider)
    assert who(client) == "ann"


@pytest.mark.parametrize("state", ["", "other", "é"])
def test_an_answer_with_another_state_is_not_taken(
    client: Client, provider: IdentityProvider, connected: User, state: str
) -> None:
    right = way_back(client, provider)
    code = dict(parse_qsl(urlsplit(right).query))["code"]
    answer = client.get(BACK, {"code": code, "state": state})
    assert "belongs to another sign-in" in answer.text and who(client) is None
    assert "took too long" in client.get(right).text, "one try, wrong or right"
    assert "/token" not in provider.asked, "the code is shown to nobody"


def test_an_answer_works_once_and_in_the_browser_that_asked(
    client: Client, provider: IdentityProvider, connected: User
) -> None:
    address = way_back(client, provider)
    other = Client()
    assert other.get(address).status_code == 400 and who(other) is None
    sent(other)
    assert "another sign-in" in other.get(address).text and who(other) is None
    assert client.get(address).status_code == 302 and who(client) == "ann"
    client.logout()
    assert client.get(address).status_code == 400 and who(client) is None


def test_an_answer_that_comes_too_late_is_not_taken(
    client: Client, provider: IdentityProvider, connected: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = way_back(client, provider)
    monkeypatch.setattr(openid_connect, "PENDING_SECONDS", -1)
    assert "took too long" in client.get(address).text and who(client) is None


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_nobody_is_sent_to_another_site_afterwards(
    client: Client, provider: IdentityProvider, connected: User, target: str
) -> None:
    assert come_back(client, provider, next=target)["Location"] == "/"


def test_a_description_of_another_issuer_is_refused(
    client: Client, provider: IdentityProvider
) -> None:
    provider.says = {"issuer": "https://evil.example"}
    answer = client.post(BEGIN)
    assert answer.status_code == 502 and "another provider" in answer.text


def test_nobody_is_sent_on_to_an_address_that_is_not_safe(
    client: Client, provider: IdentityProvider
) -> None:
    for address in ("javascript:alert(1)", "http://login.example.org/", "https://a.example/#x"):
        openid_answers.forget()
        provider.says = {"authorization_endpoint": address}
        answer = client.post(BEGIN)
        assert answer.status_code == 502 and "not safe" in answer.text


def test_a_provider_that_is_away_is_a_sentence_and_passwords_go_on(
    client: Client, settings: Settings, ann: User
) -> None:
    openid_answers.forget()
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = "http://127.0.0.1:9", CLIENT
    settings.OIDC_NAME = "Acme"
    answer = client.post(BEGIN)
    assert answer.status_code == 502
    assert "Acme does not answer as it should just now. Try again later." in answer.text
    assert 'name="password"' in answer.text


def test_a_provider_is_believed_over_tls_only_where_its_certificate_is_vouched_for(
    client: Client,
    settings: Settings,
    ann: User,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = identity_provider.certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = CLIENT, SECRET
    with identity_provider.running(context) as provider:
        settings.OIDC_ISSUER = provider.url
        ExternalIdentity.objects.create(user=ann, issuer=provider.url, subject="s-1")
        assert client.post(BEGIN).status_code == 502 and provider.asked == []
        assert "CERTIFICATE_VERIFY_FAILED" in caplog.text, "the operator reads why"
        openid_answers.forget()
        certificates.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        come_back(client, provider)
        assert who(client) == "ann"
    certificates.cache_clear()


def test_a_provider_that_trickles_ends_at_one_deadline_and_is_left_alone_for_a_while(
    client: Client, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    openid_answers.certificates()  # to load them takes longer than an answer
    monkeypatch.setattr(openid_answers, "TIMEOUT", 2.0)
    provider.broken = "trickling"
    begun = time.monotonic()
    assert client.post(BEGIN).status_code == 502
    assert time.monotonic() - begun < 9, "its headers take ten seconds"
    assert client.post(BEGIN).status_code == 502
    assert len(provider.asked) == 1


def test_sign_ins_that_fail_are_limited_by_network(
    client: Client, provider: IdentityProvider, connected: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid_pages, "LIMIT", 3)
    for _ in range(5):  # whoever comes in counts for nothing
        come_back(client, provider)
        client.logout()
    provider.changes = {"nonce": "other"}
    for _ in range(3):
        come_back(client, provider)
    assert client.post(BEGIN).status_code == 429
    assert client.get(BACK).status_code == 429
    assert client.post(BEGIN, REMOTE_ADDR="192.0.2.9").status_code == 200


def test_sign_ins_that_are_only_begun_are_limited_as_well(
    client: Client, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid_pages, "MOST_BEGUN", 3)
    for _ in range(3):
        sent(client)
    assert client.post(BEGIN).status_code == 429
    assert client.post(BEGIN, REMOTE_ADDR="192.0.2.9").status_code == 200


def test_no_secret_is_written_to_the_log(
    client: Client, provider: IdentityProvider, connected: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    addresses = [way_back(client, provider)]
    client.get(addresses[0])
    client.logout()
    for hostile in ({"nonce": "other"}, {"aud": "other"}, {"iss": "https://evil.example"}):
        provider.changes = hostile
        addresses.append(way_back(client, provider))
        client.get(addresses[-1])
    provider.changes, provider.broken = {}, "text"
    addresses.append(way_back(client, provider))
    client.get(addresses[-1])
    assert "signed nobody in: token InvalidAudienceError" in caplog.text
    secrets = [value for one in addresses for _, value in parse_qsl(urlsplit(one).query)]
    for secret in [SECRET, "a%20secret", *secrets, *provider.tokens]:
        assert secret not in caplog.text


def test_an_identity_is_kept_by_issuer_and_subject_together(
    client: Client, provider: IdentityProvider, ann: User
) -> None:
    ExternalIdentity.objects.create(user=ann, issuer="https://other.example", subject="s-1")
    come_back(client, provider)
    assert who(client) is None
