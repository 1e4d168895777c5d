"""An OpenID provider on loopback that says what a test wants it to say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
CLIENT, SECRET = "pairs", "a secret: 100 %"


class IdentityProvider:
    """Its person signs in at once. `changes` are to the ID token's claims, `header` to its header;
    `says` to its description."""

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
        self.odd: dict[str, Any] = {}
        self.broken = ""
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        } | self.says

    def keys(self) -> dict[str, Any]:
        return {
            "keys": [
                {"kty": "oct", "kid": self.kid, "k": "c2VjcmV0"},
                self._public(self.rsa, "RS256"),
                self._public(self.ec, "ES256"),
            ]
        }

    def _public(self, key: Any, algorithm: str) -> dict[str, Any]:
        made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        return dict(made) | {"kid": self.kid, "use": "sig", "alg": algorithm} | self.odd

    def public_pem(self) -> bytes:
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def allow(self, address: str) -> str:
        """Where the browser is sent that came to `address`."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split() and asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"]}
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def token(self, body: dict[str, str], authorization: str) -> dict[str, Any]:
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
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.signed(claims)}

    def signed(self, claims: dict[str, Any]) -> str:
        header = {"kid": self.kid} | self.header
        if self.algorithm == "none":
            return jwt.encode(claims, None, algorithm="none", headers=header)
        if self.algorithm == "HS256":
            # The public key as a shared secret, put together by hand: PyJWT refuses to.
            parts = [{"alg": "HS256", "typ": "JWT"} | header, claims]
            text = b".".join(_b64(json.dumps(one).encode()) for one in parts)
            mac = hmac.new(self.public_pem(), text, hashlib.sha256).digest()
            return (text + b"." + _b64(mac)).decode()
        key: Any = self.ec if self.algorithm == "ES256" else self.rsa
        return jwt.encode(claims, key, algorithm=self.algorithm, headers=header)


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


class _Handler(BaseHTTPRequestHandler):
    provider: IdentityProvider

    def do_GET(self) -> None:
        here = self.provider
        path = urlsplit(self.path).path
        here.asked.append(path)
        if path == "/authorize":
            self.send_response(302)
            self.send_header("Location", here.allow(self.path))
            self.end_headers()
            return
        self._send(here.keys() if path == "/keys" else here.description())

    def do_POST(self) -> None:
        here = self.provider
        here.asked.append(self.path)
        read = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = {name: values[0] for name, values in parse_qs(read).items()}
        self._send(here.token(body, self.headers.get("Authorization", "")))

    def _send(self, told: object) -> None:
        broken = self.provider.broken
        text = json.dumps(told).encode()
        other = {"huge": b"[" + b"0," * 1_000_000, "text": b"<html>", "list": b"[]"}
        text = other.get(broken, text)
        self.send_response({"away": 503, "moved": 302}.get(broken, 200))
        if broken == "moved":
            self.send_header("Location", f"{self.provider.url}/elsewhere")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with suppress(OSError):  # who reads no further has seen enough
            self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[IdentityProvider]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    here = IdentityProvider(f"http://127.0.0.1:{server.server_port}")
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
