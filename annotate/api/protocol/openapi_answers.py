"""The OpenAPI schema's part that is the same for every call: errors, and the idempotency key."""

from __future__ import annotations

from typing import Any

from annotate.api.protocol.idempotency import HEADER, LONGEST, REPLAYED
from annotate.api.protocol.problem_details import MEDIA_TYPE

Schema = dict[str, Any]

EVERY = {
    "400": "A parameter, a field or the body is wrong.",
    "401": "No known token, and nobody is signed in.",
    "403": "Your role is too low, or your session needs its CSRF token.",
    "404": "There is no such thing, or it is not yours.",
    "406": "The answer has no such media type.",
    "429": "Too many requests; come back after Retry-After seconds.",
    "503": "The database is away; nothing was lost.",
}
WITH_BODY = {
    "413": "The body is too long.",
    "415": "The body has no such media type.",
}
POST = {
    "409": "It is not the time for that, or a request with this key is being worked on.",
    "422": "The key came with another request before.",
}
KEY = {
    "name": HEADER,
    "in": "header",
    "description": "Names this request: sent again with the same key, it is done once, and "
    f"answered as at first ({REPLAYED}: true) for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"},
}


def complete(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """Add to every call what holds for all of them. A hook of drf-spectacular."""
    for path, methods in result["paths"].items():
        if path.endswith("/schema/"):
            continue
        for method, call in methods.items():
            _complete(call, method)
    return result


def _complete(call: Schema, method: str) -> None:
    for parameter in call.get("parameters", []):
        if parameter["name"] == "slug":
            parameter.setdefault("description", "Of the project, as in the addresses of its pages.")
    errors = EVERY | (WITH_BODY if method in ("post", "patch", "put") else {})
    if method == "post":
        errors = errors | POST
        call.setdefault("parameters", []).append(KEY)
    for status, description in errors.items():
        call["responses"].setdefault(status, {"description": description})
    for status, answer in call["responses"].items():
        if status[0] in "45":
            content: Schema = next(iter(answer.get("content", {}).values()), {})
            schema = content.get("schema", {"$ref": "#/components/schemas/ErrorBody"})
            answer["content"] = {MEDIA_TYPE: {"schema": schema}}
