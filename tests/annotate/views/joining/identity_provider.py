"""An OpenID provider on loopback that says what a test wants it to say, and the way through it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import html
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from pytest_django import Settings

from annotate.people.joining import openid_answers

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
CLIENT, SECRET = "pairs", "a secret: 100 %"
LOGIN, BEGIN, BACK = "/accounts/login/", "/accounts/openid/", "/accounts/openid/back/"


class IdentityProvider:
    """Its person signs in at once. `changes` are to the ID token's claims, `header` to its header,
    `says` to its description, `more` to its answer with the token; `broken` is how it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rsa, self.ec = RSA, CURVE
        self.kid, self.algorithm = "one", "RS256"
        self.person: dict[str, Any] = {
            "sub": "s-1",
            "email": "ada@example.org",
            "email_verified": True,
            "preferred_username": "ada",
        }
        self.changes: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.says: dict[str, Any] = {}
        self.more: dict[str, Any] = {}
        self.shown: list[Any] | None = None
        self.broken = ""
        self.secret: str | None = SECRET
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.tokens: list[str] = []

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        } | self.says

    def keys(self) -> dict[str, Any]:
        if self.shown is not None:
            return {"keys": self.shown}
        return {
            "keys": [
                {"kty": "oct", "kid": self.kid, "k": "c2VjcmV0"},
                self.public(self.rsa, "RS256"),
                self.public(self.ec, "ES256"),
            ]
        }

    def public(self, key: Any, algorithm: str) -> dict[str, Any]:
        made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        return dict(made) | {"kid": self.kid, "use": "sig", "alg": algorithm}

    def public_pem(self) -> bytes:
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def allow(self, address: str) -> str:
        """Where the browser is sent that came to `address`."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split() and asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}-of-few-words"
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"]}
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def token(self, body: dict[str, str], authorization: str) -> dict[str, Any]:
        if "client_secret_post" in self.says.get("token_endpoint_auth_methods_supported", []):
            assert (authorization, body.get("client_secret")) == ("", self.secret)
        elif self.secret is None:
            assert (authorization, body["client_id"]) == ("", CLIENT)
        else:
            basic = base64.b64encode(b"pairs:a%20secret%3A%20100%20%25").decode()
            assert authorization == f"Basic {basic}", authorization
        asked = self.codes.pop(body["code"])  # once
        assert body["redirect_uri"] == asked["redirect_uri"]
        digest = hashlib.sha256(body["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert challenge == asked["code_challenge"]
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300} | self.person
        claims |= {"nonce": asked["nonce"]} | self.changes
        claims = {name: value for name, value in claims.items() if value is not None}
        self.tokens.append(self.signed(claims))
        told = {"access_token": "x", "token_type": "Bearer", "id_token": self.tokens[-1]}
        return told | self.more

    def signed(self, claims: dict[str, Any]) -> str:
        """A token put together by hand: a library would not write most of what hostile ones say."""
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | self.header
        text = b".".join(_b64(json.dumps(one).encode()) for one in (header, claims))
        return (text + b"." + _b64(self._signature(text))).decode()

    def _signature(self, text: bytes) -> bytes:
        if self.algorithm == "none":
            return b""
        if self.algorithm == "HS256":  # the public key as a shared secret
            return hmac.new(self.public_pem(), text, hashlib.sha256).digest()
        key = self.ec if self.algorithm == "ES256" else self.rsa
        return bytes(jwt.get_algorithm_by_name(self.algorithm).sign(text, key))


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


BROKEN = {
    "text": b"<html>",
    "list": b"[]",
    "deep": b"[" * 100_000,
}
"""Answers that are none, by what `broken` says."""


class _Handler(BaseHTTPRequestHandler):
    provider: IdentityProvider

    def do_GET(self) -> None:
        here = self.provider
        path = urlsplit(self.path).path
        here.asked.append(path)
        if path == "/authorize":
            self._page(here.allow(self.path))
        else:
            self._send(here.keys() if path == "/keys" else here.description())

    def do_POST(self) -> None:
        here = self.provider
        here.asked.append(self.path)
        read = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = {name: values[0] for name, values in parse_qs(read).items()}
        self._send(here.token(body, self.headers.get("Authorization", "")))

    def _page(self, to: str) -> None:
        text = f"<title>Acme</title><a href='{html.escape(to)}'>I am Ada</a>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(text)

    def _send(self, told: object) -> None:
        broken = self.provider.broken
        text = json.dumps(told).encode()
        if broken in ("huge", "bomb"):  # right, but for its size
            text = b" " * 1_000_000 + text
        text = gzip.compress(text) if broken == "bomb" else BROKEN.get(broken, text)
        self.send_response({"away": 503, "moved": 302}.get(broken, 200))
        if broken == "moved":
            self.send_header("Location", f"{self.provider.url}/elsewhere")
        if broken == "bomb":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(text)))
        with suppress(OSError):  # who reads no further has seen enough
            if broken == "trickling":
                self._trickle()
            self.end_headers()
            self.wfile.write(text)

    def _trickle(self) -> None:
        """One header after another, each well within any time limit for a single one."""
        for n in range(200):
            self.send_header(f"X-{n}", "y")
            self.flush_headers()
            time.sleep(0.05)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def named_by(settings: Settings) -> Iterator[IdentityProvider]:
    """A provider that the operator's settings name, and of which nobody knows anything yet."""
    openid_answers.forget()
    with running() as here:
        settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = here.url, CLIENT
        settings.OIDC_CLIENT_SECRET, settings.OIDC_NAME = SECRET, "Acme"
        yield here
    openid_answers.forget()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[IdentityProvider]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    here = IdentityProvider(f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}")
    handler.provider = here  # type: ignore[attr-defined]
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate of 127.0.0.1 that nobody vouches for but itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Acme")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, CURVE.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(CURVE, hashes.SHA256())
    )
    key = CURVE.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = folder / "acme.pem"
    file.write_bytes(key + made.public_bytes(serialization.Encoding.PEM))
    return file


def sent(client: Client, address: str = BEGIN, **data: str) -> str:
    """Where the page leads that our form answers with."""
    page = client.post(address, data)
    assert page.status_code == 200, page.text
    found = re.search(r'content="0;url=([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


def way_back(client: Client, provider: IdentityProvider, address: str = BEGIN, **data: str) -> str:
    """The address of ours that the provider sends to who signs in there."""
    parts = urlsplit(provider.allow(sent(client, address, **data)))
    assert parts.path == BACK
    return f"{parts.path}?{parts.query}"


def come_back(
    client: Client, provider: IdentityProvider, address: str = BEGIN, **data: str
) -> HttpResponse:
    """Sign in at the provider, and what our page says then."""
    return client.get(way_back(client, provider, address, **data))


def who(client: Client) -> str | None:
    key = client.session.get("_auth_user_id")
    return str(User.objects.get(pk=key).username) if key else None
