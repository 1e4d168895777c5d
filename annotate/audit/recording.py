"""Recording: a middleware that appends an entry for each act that `ACTIONS` names, and sign-ins."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse

from annotate.audit import chain
from annotate.audit.actions import ACTIONS, Action
from annotate.people import http_requests

LONGEST_VALUE = 200
MOST_BODY = 64 * 1024
"""Bytes of a JSON body that are looked at; larger ones hold rows and not what is kept."""
LARGEST_NUMBER = 2**53
log = logging.getLogger(__name__)


class AuditTrail:
    """Middleware that records what was done, after it was done and before the answer goes out."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        body = _json_body(request)
        response = self.get_response(request)
        match = request.resolver_match
        action = ACTIONS.get(match.url_name or "") if match else None
        if match and action and _was_done(action, request, response):
            details: dict[str, Any] = {
                name: str(value) for name, value in match.kwargs.items() if name in NUMBERS
            }
            details |= _fields(action, request, body)
            if token := getattr(getattr(request, "auth", None), "prefix", ""):
                details["api_token"] = token
            slug = str(match.kwargs.get("slug", ""))
            record(str(match.url_name), request, project_slug=slug, details=details)
        return response


NUMBERS = (
    *("uuid", "number", "pk", "member_id", "invitation_id", "token_id", "hook_id"),
    *("delivery_id", "pair_id", "prompt_id", "completion_id", "gold_id", "version", "id"),
)
"""Parts of an address that say which one it was. A secret link is none of them."""


def record(
    action: str,
    request: HttpRequest,
    *,
    user: User | None = None,
    project_slug: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Append what a person did by this request."""
    person = user or request.user
    try:
        chain.append(
            action,
            user=person if isinstance(person, User) else None,
            project_slug=project_slug,
            details=details,
            address=_address(request),
        )
    except DatabaseError:
        # It is done already, and its answer must not say otherwise.
        log.exception("The audit log could not be written: %s", action)


def record_command(name: str, *, project_slug: str = "", **details: Any) -> None:
    """Append what the operator did by a command of manage.py."""
    chain.append("command", project_slug=project_slug, details={"command": name, **details})


def _address(request: HttpRequest) -> str | None:
    try:
        return str(ipaddress.ip_address(http_requests.address(request)))
    except ValueError:
        return None


def _was_done(action: Action, request: HttpRequest, response: HttpResponse) -> bool:
    if request.method not in action.methods or not request.user.is_authenticated:
        return False
    if action.redirects:
        return 300 <= response.status_code < 400 or response.status_code == 204
    return response.status_code < 400


def _fields(action: Action, request: HttpRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the fields that the action keeps."""
    given: dict[str, Any] = {}
    for name in action.fields:
        # Of an address only what reads by it: beside a form it is nothing that was chosen.
        sent = request.GET if request.method == "GET" else request.POST
        values = sent.getlist(name)
        value = body.get(name, values if len(values) > 1 else "".join(values))
        if value not in ("", None, []):
            given[name] = _short(value)
    return given


def _short(value: Any) -> Any:
    # A database may give other numbers back otherwise written, and their hash would be another.
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < LARGEST_NUMBER):
        return value
    if isinstance(value, list):
        return [_short(one) for one in value[:20]]
    # PostgreSQL's JSON holds neither: the act would go unrecorded.
    text = str(value)[:LONGEST_VALUE].replace("\0", "\ufffd")
    return text.encode("utf-8", "replace").decode()


def _json_body(request: HttpRequest) -> Mapping[str, Any]:
    """A small JSON object, read before the view reads it; else nothing."""
    if request.method not in ("POST", "PUT", "PATCH") or not request.path.startswith("/api/"):
        return {}
    length = request.headers.get("Content-Length", "")
    if request.content_type != "application/json" or not length.isdecimal():
        return {}
    if int(length) > MOST_BODY:
        return {}
    try:
        data = json.loads(request.body)
    except (ValueError, RecursionError, OSError):
        return {}
    return data if isinstance(data, dict) else {}


def connect() -> None:
    """Record who comes in, who leaves, and who fails to come in."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="audit.signed_out")
    user_login_failed.connect(_failed, dispatch_uid="audit.failed")


def _signed_in(sender: object, request: HttpRequest, user: User, **rest: object) -> None:
    # The way in: a password, a link that was printed on the machine, or an invitation.
    # Without an address it is no person: a test or a script that makes itself a session.
    if match := request.resolver_match:
        record("sign-in", request, user=user, details={"by": match.url_name})


def _signed_out(sender: object, request: HttpRequest, user: User | None, **rest: object) -> None:
    if user is not None and request.resolver_match:
        record("sign-out", request, user=user)


def _failed(
    sender: object, credentials: Mapping[str, Any], request: HttpRequest | None = None, **_: object
) -> None:
    """Of an account that exists; what else was typed there may be anything, a password as well."""
    name = str(credentials.get("username", ""))
    user = User.objects.filter(username=name).first()
    if request is not None and user is not None:
        record("sign-in-failed", request, user=user)
