"""Requests that may be sent again: the header Idempotency-Key (IETF draft of that name).

A client that does not know whether its POST arrived sends it once more with the same key. The
first one is done; later ones get its answer, for a day. Only success is kept: after a refusal the
same key may come with another body.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework.settings import api_settings

from annotate.models import IdempotencyKey
from annotate.queue import write

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LONGEST = 255
LIFETIME = timedelta(hours=24)
SILENCE = timedelta(minutes=5)
"""A request that has not been answered for so long has lost its process: no server lets one run
longer. Its key is free again, and what it did is found by whoever sends it again."""
PIECE = 64 * 1024

GetResponse = Callable[[HttpRequest], HttpResponse]


class IdempotencyKeys:
    """Middleware, so that every POST takes the header, also those that are made later."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER)
        asked = request.method == "POST" and request.path.startswith("/api/")
        if given is None or not asked:
            return self.get_response(request)
        # The draft writes the key as a string in quotes; most clients leave them out.
        key = given.strip().strip('"')
        if not key or len(key) > LONGEST or not (key.isascii() and key.isprintable()):
            said = f"{HEADER} must have 1 to {LONGEST} printable characters of ASCII."
            return JsonResponse({"detail": said}, status=400)
        user = _caller(request)
        if user is None:
            return self.get_response(request)  # which answers that nobody is signed in
        body = HashedBody(request)
        kept, mine = _claim(user, key)
        return self._first(request, kept, body) if mine else _again(kept, body)

    def _first(self, request: HttpRequest, kept: IdempotencyKey, body: HashedBody) -> HttpResponse:
        # Unless it was taken over meanwhile, as one whose process is lost.
        own = IdempotencyKey.objects.filter(pk=kept.pk, holder=kept.holder)
        response = self.get_response(request)
        if 200 <= response.status_code < 300 and not response.streaming:
            answer = {
                "status": response.status_code,
                "fingerprint": body.fingerprint(),
                "location": response.headers.get("Location", ""),
                "body": _kept_body(response),
            }
            with write():
                own.update(**answer)
        else:
            with write():
                own.delete()
        return response


class HashedBody:
    """The body of a request, hashed as it is read: a file never lies in memory as a whole."""

    def __init__(self, request: HttpRequest) -> None:
        # With the token: another one of the same person may not read what this one may.
        token = request.headers.get("Authorization", "")
        self._sha256 = hashlib.sha256(f"{request.get_full_path()}\n{token}\n".encode())
        self._stream: Any = request._stream
        request._stream = self  # type: ignore[assignment]  # All that is called of it is here.

    def read(self, *size: int) -> bytes:
        return self._hashed(self._stream.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._hashed(self._stream.readline(*size))

    def _hashed(self, piece: bytes) -> bytes:
        self._sha256.update(piece)
        return piece

    def fingerprint(self) -> str:
        """Hash of address, token and the whole body, of which the rest is read now."""
        while self.read(PIECE):
            pass
        return self._sha256.hexdigest()


def _caller(request: HttpRequest) -> User | None:
    """The person whom the API will take for the author of this request."""
    kinds: list[type[BaseAuthentication]] = api_settings.DEFAULT_AUTHENTICATION_CLASSES  # type: ignore[assignment]  # The settings' texts are classes by now.
    for kind in kinds:
        if issubclass(kind, SessionAuthentication):
            continue  # It reads the body to look for a form's token.
        try:
            known = kind().authenticate(Request(request))
        except AuthenticationFailed:
            return None
        if known is not None:
            return known[0] if isinstance(known[0], User) else None
    signed_in = request.user
    return signed_in if isinstance(signed_in, User) and signed_in.is_active else None


def _claim(user: User, key: str) -> tuple[IdempotencyKey, bool]:
    """The row of a key, and whether this request is the one that holds it.

    The database decides between two requests at once: it takes the first of two equal rows, and
    the first of two changes to an abandoned one.
    """
    now = timezone.now()
    columns = {"holder": uuid4(), "started_at": now, "expires_at": now + LIFETIME}
    abandoned = Q(status=None, started_at__lt=now - SILENCE)
    with write():
        new = IdempotencyKey(user=user, key=key, **columns)
        IdempotencyKey.objects.bulk_create([new], ignore_conflicts=True)
        rows = IdempotencyKey.objects.filter(user=user, key=key)
        rows.filter(abandoned | Q(expires_at__lt=now)).update(
            **columns, status=None, fingerprint="", body="", location=""
        )
        kept = rows.get()
    return kept, kept.holder == columns["holder"]


def _again(kept: IdempotencyKey, body: HashedBody) -> HttpResponse:
    if kept.status is None:
        said = "A request with this key is being worked on. Ask again in a moment."
        return JsonResponse({"detail": said}, status=409, headers={"Retry-After": "1"})
    if kept.fingerprint != body.fingerprint():
        said = "This key came with another request before: a new request takes a new key."
        return JsonResponse({"detail": said}, status=422)
    response = HttpResponse(kept.body, status=kept.status, content_type="application/json")
    if kept.status == 204:
        del response.headers["Content-Type"]
    if kept.location:
        response.headers["Location"] = kept.location
    response.headers[REPLAYED] = "true"
    return response


def _kept_body(response: HttpResponse) -> str:
    """The answer as it is given again: what may be read once only is left out.

    A call names such members in `shown_once` of its response; links and secrets are stored as
    hashes and nowhere else.
    """
    text = response.content.decode()
    secret = getattr(response, "shown_once", ())
    if not secret:
        return text
    return json.dumps(json.loads(text) | dict.fromkeys(secret), ensure_ascii=False)
