"""Signing in through an identity provider: OpenID Connect Core 1.0, authorization code flow.

With state, nonce and PKCE (RFC 7636, S256). The operator names one provider; what it says is
believed where its signature, issuer, audience, nonce and times are right (section 3.1.3.7). PyJWT
checks signatures and times.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jwt
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from annotate.people.joining import openid_answers
from annotate.people.joining.openid_answers import NoAnswer, UnsafeAddress

PENDING = "openid_connect"
"""Key of a session with what was sent to the provider."""
PENDING_SECONDS = 600
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
"""Signatures that are believed, with the type of their keys: none with a shared secret."""
LONGEST = 255
"""Characters of a subject (section 2)."""
LONGEST_ADDRESS = 254

BEGIN_AGAIN = "The answer of {name} belongs to another sign-in. Begin once more."
DOES_NOT_HOLD = "What {name} said of you does not hold. Begin once more."
SENTENCES = {
    "state": BEGIN_AGAIN,
    "nonce": BEGIN_AGAIN,
    "late": "That took too long. Sign in once more.",
    "refused": "{name} did not sign you in.",
    "nobody": "{name} did not say who you are.",
    "issuer": "{name} describes itself as another provider. Tell the operator.",
    "unsafe": "{name} has an address that is not safe. Tell the operator.",
    "algorithm": "{name} signs in a way that is not accepted. Tell the operator.",
    "token": DOES_NOT_HOLD,
    "key": DOES_NOT_HOLD,
    "audience": "What {name} said of you is for another program.",
    "away": "{name} does not answer as it should just now. Try again later.",
    "unverified": "{name} has not verified your mail address, so no account was made for you.",
    "domain": "{name} knows you, but your mail address is of none of the domains admitted.",
    "closed": "Your account here is closed.",
    "unknown": "{name} knows you, but nobody here is connected with that account. Sign in with "
    "your password, or join by the invitation you got, and connect it on the page of your account.",
}
"""Reasons for which somebody is not signed in, for the audit log, with their words for people."""


class NotSignedIn(Exception):
    """The provider did not sign anybody in; the message is for the person.

    Attributes:
        why: a key of SENTENCES.
        detail: more for the operator's log. It never holds what was sent.
    """

    def __init__(self, why: str, here: Provider, detail: str = "") -> None:
        super().__init__(SENTENCES[why].format(name=here.name))
        self.why, self.detail = why, detail


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An identity provider, as the operator's settings name it."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str
    domains: frozenset[str]
    """Domains of mail addresses whose owners may have an account made for them."""
    creates: bool
    """True where unknown people get accounts without rights."""
    second_factor: bool
    """True where its sign-in stands for password and second factor, not the password alone."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The claims of an ID token about a person."""

    issuer: str
    subject: str
    address: str
    """A mail address that the provider has verified; empty where there is none."""
    username: str
    """A name that the person would know."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A sign-in that was begun in this session."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    at: float
    next: str
    connect: int | None
    """The account that asked to be connected; None for signing in."""


def provider() -> Provider | None:
    """The provider that people may sign in through; None where the operator named none."""
    if not settings.OIDC_ISSUER or not settings.OIDC_CLIENT_ID:
        return None
    domains = (one.strip().removeprefix("@").lower() for one in settings.OIDC_DOMAINS)
    return Provider(
        issuer=settings.OIDC_ISSUER,
        client_id=settings.OIDC_CLIENT_ID,
        client_secret=settings.OIDC_CLIENT_SECRET,
        name=settings.OIDC_NAME or _host(settings.OIDC_ISSUER) or "OpenID",
        domains=frozenset(one for one in domains if one),
        creates=settings.OIDC_CREATE,
        second_factor=settings.OIDC_SECOND_FACTOR,
    )


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def begin(
    here: Provider, session: SessionBase, back: str, *, target: str, connect: int | None
) -> str:
    """The provider's address to send the person to; what has to come back is kept in the session.

    Args:
        back: our address that the provider sends them back to.
        target: the page to show afterwards.
        connect: the account that is to be connected; None for signing in.

    Raises:
        NotSignedIn: the provider does not answer as one.
    """
    address = _endpoint(here, "authorization_endpoint")
    begun = Begun(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        at=time.time(),
        next=target,
        connect=connect,
    )
    session[PENDING] = vars(begun)
    digest = hashlib.sha256(begun.verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": here.client_id,
        "redirect_uri": back,
        "scope": "openid email profile",
        "state": begun.state,
        "nonce": begun.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked, quote_via=quote)}"


def taken_up(session: SessionBase) -> Begun | None:
    """The sign-in that this session began, once; None where there is none, or it is too old."""
    kept = session.pop(PENDING, None)
    begun = Begun(**kept) if isinstance(kept, dict) else None
    return begun if begun and 0 <= time.time() - begun.at <= PENDING_SECONDS else None


def finish(here: Provider, begun: Begun, told: Mapping[str, str], back: str) -> Claims:
    """The claims of the provider about the person who came back with `told`.

    Raises:
        NotSignedIn: they refused or were refused, the answer is for another session, or what the
            provider says does not hold.
    """
    if not _same(told.get("state"), begun.state):
        raise NotSignedIn("state", here)
    # RFC 9207: an answer that names its issuer names the one that was asked.
    if told.get("iss", here.issuer) != here.issuer:
        raise NotSignedIn("token", here, "the answer names another issuer")
    if told.get("error") or not told.get("code"):
        raise NotSignedIn("refused", here)
    claims = _verified(here, _id_token(here, begun, told["code"], back), begun.nonce)
    name = claims.get("preferred_username")
    return Claims(
        issuer=here.issuer,
        subject=claims["sub"],
        address=_verified_address(claims),
        username=name if isinstance(name, str) else "",
    )


def discovery(here: Provider) -> dict[str, Any]:
    """The provider's own description (OpenID Connect Discovery 1.0, section 4).

    Raises:
        NotSignedIn: it is not there, or describes another provider.
    """
    told = _kept_object(here, f"{here.issuer.rstrip('/')}/.well-known/openid-configuration")
    if told.get("issuer") != here.issuer:
        raise NotSignedIn("issuer", here)
    return told


def identity_provider_problem() -> str | None:
    """A sentence about the settings or the provider; None where people can sign in, or none is
    named."""
    here = provider()
    if here is None:
        return "there is an issuer without a client id" if settings.OIDC_ISSUER else None
    if here.creates and not here.domains:
        return "accounts are to be made, but no domain is admitted"
    try:
        for name in ("authorization_endpoint", "token_endpoint"):
            _endpoint(here, name)
        if not any(_suits(one, None, name) for one in _keys(here) for name in ALGORITHMS):
            return f"{here.name} shows no key for {' or '.join(ALGORITHMS)}"
    except NotSignedIn as error:
        return f"{error} ({error.detail})" if error.detail else str(error)
    return None


def _id_token(here: Provider, begun: Begun, code: str, back: str) -> str:
    about = discovery(here)
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": back,
        "code_verifier": begun.verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    by_post = about.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]
    if here.client_secret and not by_post:
        # RFC 6749, section 2.3.1: both parts are form-encoded before they are joined.
        pair = f"{quote(here.client_id, safe='')}:{quote(here.client_secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        body["client_id"] = here.client_id
        if here.client_secret:
            body["client_secret"] = here.client_secret
    url = _endpoint(here, "token_endpoint")
    try:
        told = openid_answers.ask("POST", url, body=urlencode(body).encode(), headers=headers)
    except NoAnswer as error:
        raise NotSignedIn("away", here, f"token endpoint: {error}") from error
    token = told.get("id_token")
    if not isinstance(token, str):
        raise NotSignedIn("nobody", here, "no ID token")
    return token


def _verified(here: Provider, token: str, nonce: str) -> dict[str, Any]:
    """The token's claims, if they are for us, now, and for this sign-in."""
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise NotSignedIn("algorithm", here)
        claims = jwt.decode(
            token,
            _key(here, header.get("kid"), algorithm),
            # The one that the key is for: a list would leave the choice to the token.
            algorithms=[algorithm],
            audience=here.client_id,
            issuer=here.issuer,
            leeway=LEEWAY,
            options={
                "require": ["iss", "sub", "aud", "exp", "iat"],
                "enforce_minimum_key_length": True,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        # The name of the error alone: its message may hold a part of the token.
        raise NotSignedIn("token", here, type(error).__name__) from error
    if not _same(claims.get("nonce"), nonce):
        raise NotSignedIn("nonce", here)
    of_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (of_several or "azp" in claims) and claims.get("azp") != here.client_id:
        raise NotSignedIn("audience", here)
    subject: str = claims["sub"]
    if not 0 < len(subject) <= LONGEST or not subject.isascii() or not subject.isprintable():
        raise NotSignedIn("nobody", here, "no subject as the standard has them")
    return claims


def _verified_address(claims: Mapping[str, Any]) -> str:
    address, verified = claims.get("email"), claims.get("email_verified")
    # As a text too: some providers write it so.
    if not (verified is True or verified == "true") or not isinstance(address, str):
        return ""
    try:
        validate_email(address)
    except ValidationError:
        return ""
    # Django's check lets halves of characters pass, which no database stores.
    return address if address.isprintable() and len(address) <= LONGEST_ADDRESS else ""


def _key(here: Provider, kid: object, algorithm: str) -> Any:
    """The provider's key of this name; of several without a name, none (section 10.1)."""
    for fresh in (False, True):
        suitable = [one for one in _keys(here, fresh=fresh) if _suits(one, kid, algorithm)]
        if len(suitable) == 1:
            return jwt.PyJWK(suitable[0], algorithm=algorithm).key
    raise NotSignedIn("key", here)


def _keys(here: Provider, *, fresh: bool = False) -> list[Any]:
    keys = _kept_object(here, _endpoint(here, "jwks_uri"), fresh=fresh).get("keys")
    return keys if isinstance(keys, list) else []


def _suits(one: object, kid: object, algorithm: str) -> bool:
    return (
        isinstance(one, dict)
        and one.get("kty") == ALGORITHMS[algorithm]
        and one.get("use", "sig") == "sig"
        and one.get("alg", algorithm) == algorithm
        and (kid is None or one.get("kid") == kid)
    )


def _endpoint(here: Provider, name: str) -> str:
    try:
        return openid_answers.safe(discovery(here).get(name))
    except UnsafeAddress as error:
        raise NotSignedIn("unsafe", here, name) from error


def _kept_object(here: Provider, url: str, *, fresh: bool = False) -> dict[str, Any]:
    try:
        return openid_answers.kept_object(url, fresh=fresh)
    except NoAnswer as error:
        raise NotSignedIn("away", here, str(error)) from error
    except UnsafeAddress as error:
        raise NotSignedIn("unsafe", here, "issuer") from error


def _same(told: object, ours: str) -> bool:
    """True of the text that we made; letters beyond ASCII are somebody else's."""
    return isinstance(told, str) and told.isascii() and secrets.compare_digest(told, ours)
