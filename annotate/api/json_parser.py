"""Reading JSON from strangers: what json.loads lets through and a database refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer

from annotate.api.exceptions import TooLong

MAX_DEPTH = 32
MAX_DIGITS = 18  # fits in a signed 64-bit column, and stays far from Python's int-parsing limit
MAX_KEYS = 10_000


class StrictJSONParser(BaseParser):
    """JSON objects in UTF-8 without duplicate keys, NaN, NUL, lone surrogates or deep nesting."""

    media_type = "application/json"
    renderer_class = JSONRenderer

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            body = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        except RequestDataTooBig:
            limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            raise TooLong(f"The body is longer than {limit:,} bytes.") from None
        return parse(body)


def parse(body: bytes) -> dict[str, Any]:
    """The object in the body; an empty body is an empty object. Raises ParseError, TooLong."""
    if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise TooLong(f"The body is longer than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes.")
    if not body.strip():
        return {}
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8 at byte {error.start}.") from None
    _check_depth(text)
    try:
        body_object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except json.JSONDecodeError as error:
        raise ParseError(f"The body is not JSON: {error}.") from None
    if not isinstance(body_object, dict):
        raise ParseError("The body must be a JSON object.")
    _check_texts(body_object)
    return body_object


# A text as a whole, or one bracket. Each character is looked at once: an alternative of the
# repetition begins with a character that no other one begins with.
_TEXTS_AND_BRACKETS = re.compile(r'"(?:[^"\\]+|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def _check_depth(text: str) -> None:
    """Before json.loads, which recurses as deep as the text says."""
    depth = 0
    for match in _TEXTS_AND_BRACKETS.finditer(text):
        character = text[match.start()]
        if character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ParseError(f"The body is nested more than {MAX_DEPTH} levels deep.")
        elif character in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise ParseError(f"An object has more than {MAX_KEYS:,} keys.")
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ParseError(f"The key {key[:80]!r} is there twice.")
        members[key] = value
    return members


def _constant(name: str) -> NoReturn:
    raise ParseError(f"{name} is not a JSON number.")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ParseError(f"A number has more than {MAX_DIGITS} digits.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ParseError(f"The number {digits[:20]} is too large.")
    return value


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, list):
        for item in value:
            _check_texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_texts(item)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ParseError("A text contains the character NUL.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ParseError("A text contains half of a surrogate pair.") from None
