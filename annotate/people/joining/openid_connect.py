"""Signing in through an identity provider: OpenID Connect Core 1.0, authorization code flow.

With state, nonce and PKCE (RFC 7636, S256). The operator names one provider; what it says is
fetched over https, within a time and a size, and believed where its signature, issuer, audience,
nonce and times are right (section 3.1.3.7). PyJWT checks signatures and times.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import jwt
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

PENDING = "openid_connect"
"""Key of a session with what was sent to the provider."""
PENDING_SECONDS = 600
TIMEOUT = 10.0
"""Seconds for one answer of the provider, from the first byte to the last."""
MOST_READ = 256 * 1024
KEPT_SECONDS = 600
"""Seconds for which a provider's document and keys are believed without asking again."""
ASKED_AGAIN = 60
"""Seconds at least between two looks for a key that nobody had heard of."""
LEEWAY = 60
"""Seconds by which the provider's clock may differ."""
ALGORITHMS = {"RS256": "RSA", "ES256": "EC"}
"""Signatures that are believed, with the type of their keys: none with a shared secret."""
LONGEST = 255
"""Characters of a subject, which are ASCII (section 2)."""


class NotSignedIn(Exception):
    """The provider did not sign anybody in; the message is for the person."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """An identity provider, as the operator's settings name it."""

    issuer: str
    client_id: str
    client_secret: str
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

    state: str
    nonce: str
    verifier: str
    at: float
    next: str
    connect: int | None
    """The account that asked to be connected; None for signing in."""


def provider() -> Provider | None:
    """The provider that people may sign in through; None where the operator named none."""
    if not settings.OIDC_ISSUER or not settings.OIDC_CLIENT_ID:
        return None
    return Provider(
        issuer=settings.OIDC_ISSUER,
        client_id=settings.OIDC_CLIENT_ID,
        client_secret=settings.OIDC_CLIENT_SECRET,
        name=settings.OIDC_NAME or urlsplit(settings.OIDC_ISSUER).hostname or "OpenID",
        domains=frozenset(one.strip().lower() for one in settings.OIDC_DOMAINS if one.strip()),
        creates=settings.OIDC_CREATE,
        second_factor=settings.OIDC_SECOND_FACTOR,
    )


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
    address = _secure(discovery(here).get("authorization_endpoint"), here)
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
        raise NotSignedIn("The answer belongs to another sign-in. Begin once more.")
    # RFC 9207: an answer that names its issuer names the one that was asked.
    if told.get("iss", here.issuer) != here.issuer:
        raise NotSignedIn(f"The answer is not from {here.name}.")
    if told.get("error") or not told.get("code"):
        raise NotSignedIn(f"{here.name} did not sign you in.")
    claims = _verified(here, _id_token(here, begun, told["code"], back), begun.nonce)
    verified = claims.get("email_verified") in (True, "true")
    name = claims.get("preferred_username")
    return Claims(
        issuer=here.issuer,
        subject=claims["sub"],
        address=_address(claims.get("email")) if verified else "",
        username=name if isinstance(name, str) else "",
    )


def _same(told: object, kept: str) -> bool:
    """Compare in constant time; as bytes, because of texts only ASCII is taken."""
    text = told.encode("utf-8", "replace") if isinstance(told, str) else b""
    return secrets.compare_digest(text, kept.encode())


def _address(text: object) -> str:
    """A mail address that a column can hold; empty for anything else."""
    right = isinstance(text, str) and len(text) <= 254 and text.isprintable() and "@" in text
    return str(text) if right else ""


def discovery(here: Provider) -> dict[str, Any]:
    """The provider's own description (OpenID Connect Discovery 1.0, section 4).

    Raises:
        NotSignedIn: it is not there, or describes another provider.
    """
    url = f"{here.issuer.rstrip('/')}/.well-known/openid-configuration"
    told = _kept_json(here, url)
    if told.get("issuer") != here.issuer:
        raise NotSignedIn(f"{here.name} describes itself as another provider. Tell the operator.")
    return told


def _id_token(here: Provider, begun: Begun, code: str, back: str) -> str:
    about = discovery(here)
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": back,
        "code_verifier": begun.verifier,
    }
    headers = {"Accept": "application/json"}
    by_post = about.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]
    if here.client_secret and not by_post:
        # RFC 6749, section 2.3.1: both parts are form-encoded before they are joined.
        pair = f"{quote(here.client_id, safe='')}:{quote(here.client_secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        body["client_id"] = here.client_id
        if here.client_secret:
            body["client_secret"] = here.client_secret
    url = _secure(about.get("token_endpoint"), here)
    token = _json(here, "POST", url, data=body, headers=headers).get("id_token")
    if not isinstance(token, str):
        raise NotSignedIn(f"{here.name} did not say who you are.")
    return token


def _verified(here: Provider, token: str, nonce: str) -> dict[str, Any]:
    """The token's claims, if they are for us, now, and for this sign-in."""
    try:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in ALGORITHMS:
            raise NotSignedIn(
                f"{here.name} signs in a way that is not accepted. Tell the operator."
            )
        claims = jwt.decode(
            token,
            _key(here, header.get("kid"), algorithm),
            # The one that the key is for: a list would leave the choice to the token.
            algorithms=[algorithm],
            audience=here.client_id,
            issuer=here.issuer,
            leeway=LEEWAY,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise NotSignedIn(
            f"What {here.name} said of you does not hold. Begin once more."
        ) from error
    if not _same(claims.get("nonce"), nonce):
        raise NotSignedIn("The answer belongs to another sign-in. Begin once more.")
    of_several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (of_several or "azp" in claims) and claims.get("azp") != here.client_id:
        raise NotSignedIn(f"What {here.name} said of you is for another program.")
    subject = claims["sub"]
    if not (0 < len(subject) <= LONGEST and subject.isascii() and subject.isprintable()):
        raise NotSignedIn(f"{here.name} did not say who you are.")
    return claims


def _key(here: Provider, kid: object, algorithm: str) -> Any:
    url = _secure(discovery(here).get("jwks_uri"), here)
    for fresh in (False, True):
        keys = _kept_json(here, url, fresh=fresh).get("keys")
        for one in keys if isinstance(keys, list) else []:
            if _suits(one, kid, algorithm):
                return jwt.PyJWK(one, algorithm=algorithm).key
    raise jwt.InvalidKeyError("no such key")


def _suits(one: object, kid: object, algorithm: str) -> bool:
    return (
        isinstance(one, dict)
        and one.get("kty") == ALGORITHMS[algorithm]
        and one.get("use", "sig") == "sig"
        and one.get("alg", algorithm) == algorithm
        and (kid is None or one.get("kid") == kid)
    )


_kept: dict[str, tuple[float, dict[str, Any]]] = {}


def _kept_json(here: Provider, url: str, *, fresh: bool = False) -> dict[str, Any]:
    """The object at an address of the provider, as this process last read it.

    `fresh` reads it again, but not each time that somebody shows an unknown key.
    """
    at, told = _kept.get(url, (0.0, {}))
    age = time.monotonic() - at
    if told and age < (ASKED_AGAIN if fresh else KEPT_SECONDS):
        return told
    told = _json(here, "GET", _secure(url, here))
    _kept[url] = (time.monotonic(), told)
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
        about = discovery(here)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            _secure(about.get(name), here)
    except NotSignedIn as error:
        return str(error)
    return None


def forget() -> None:
    """Read the provider's description and keys anew."""
    _kept.clear()


def _json(here: Provider, method: str, url: str, **sent: Any) -> dict[str, Any]:
    """An object that the provider answers with; no redirect is followed."""
    end = time.monotonic() + TIMEOUT
    read = b""
    try:
        with (
            httpx2.Client(timeout=TIMEOUT, follow_redirects=False) as client,
            client.stream(method, url, **sent) as answer,
        ):
            for piece in answer.iter_bytes():
                read += piece
                if len(read) > MOST_READ or time.monotonic() > end:
                    raise NotSignedIn(f"{here.name} does not answer as it should just now.")
        told = json.loads(read) if answer.status_code == 200 else None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError) as error:
        raise NotSignedIn(f"{here.name} does not answer just now. Try again later.") from error
    if not isinstance(told, dict):
        raise NotSignedIn(f"{here.name} does not answer as it should just now.")
    return told


def _secure(url: object, here: Provider) -> str:
    """The address, if nobody on the way can read or change what is sent there."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "https" and parts.hostname:
        return parts.geturl()
    if parts.scheme == "http" and _is_loopback(parts.hostname):
        return parts.geturl()
    raise NotSignedIn(f"{here.name} has an address that is not safe. Tell the operator.")


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
