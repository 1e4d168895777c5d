"""Every error of the API as problem details: RFC 9457, `application/problem+json`.

`detail` says in a sentence what is wrong; `errors` has what is wrong with single fields, by name.
Whatever else an answer says besides, as `code`, stands beside these as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.encoding import escape_uri_path

MEDIA_TYPE = "application/problem+json"
MOST = 3
"""Fields that `detail` speaks of; `errors` has all of them."""


class ProblemDetails:
    """Middleware, because errors come from many places: from calls, from Django where it finds no
    address, from other middleware, and from a database that is away."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code >= 400 and request.path.startswith("/api/"):
            body = problem(response.status_code, request.path, _said(response))
            response.content = json.dumps(body, ensure_ascii=False).encode()
            response.headers["Content-Type"] = MEDIA_TYPE
            if "Content-Length" in response.headers:
                response.headers["Content-Length"] = str(len(response.content))
        return response


def problem(status: int, path: str, said: Any) -> dict[str, Any]:
    """The members of a problem, from what an answer said: an object with `detail`, or with the
    problems of fields by name."""
    title = _title(status)
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if isinstance(said, dict) and "detail" in said:
        body |= {"detail": _sentence(said["detail"]), "instance": _uri(path)}
        return body | {name: value for name, value in said.items() if name not in body}
    errors: dict[str, list[str]] = {}
    for name, sentence in _flat(said):
        errors.setdefault(name, []).append(sentence)
    body |= {"detail": _summary(errors) or f"{title}.", "instance": _uri(path)}
    fields = {name: sentences for name, sentences in errors.items() if name}
    return body | ({"errors": fields} if fields else {})


def _said(response: HttpResponse) -> Any:
    """The answer's own words, as far as they are JSON."""
    if hasattr(response, "data"):
        # What a serializer left may be lazy; JSON is what a client would have read.
        return json.loads(response.content or "null")
    if response.headers.get("Content-Type", "").startswith("application/json"):
        return json.loads(response.content)
    return None


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _uri(path: str) -> str:
    return escape_uri_path(path)


def _sentence(said: Any) -> str:
    return " ".join(sentence for _, sentence in _flat(said))


def _flat(said: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Name of a field, dotted where it is inside another, and one sentence on it."""
    if isinstance(said, dict):
        for key, value in said.items():
            inner = name if key == "non_field_errors" else f"{name}.{key}" if name else str(key)
            yield from _flat(value, inner)
    elif isinstance(said, list):
        for place, value in enumerate(said):
            nested = isinstance(value, dict | list)
            yield from _flat(value, f"{name}.{place}".lstrip(".") if nested else name)
    elif said is not None:
        yield name, str(said)


def _summary(errors: dict[str, list[str]]) -> str:
    told = [
        f"{name}: {sentence}" if name else sentence
        for name, sentences in errors.items()
        for sentence in sentences
    ]
    more = f" And {len(told) - MOST} more." if len(told) > MOST else ""
    return " ".join(told[:MOST]) + more
