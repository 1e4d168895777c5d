"""Exported values as text, the same in every format and on every database."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import orjson
from django.conf import settings

from annotate.models import Membership, Project

_FIRST = (
    *("role", "id", "type", "function", "name", "content", "thinking", "tool_calls"),
    *("tool_call_id", "parts", "description", "arguments", "parameters", "properties", "required"),
)
_MESSAGE = ["role", "content"]
_EMPTY: dict[str | None, Any] = {"{}": {}, "[]": [], "null": None, None: None}
_LONG = re.compile(r"\d{19}")
_PLACE = {key: place for place, key in enumerate(_FIRST)}


def line(row: Any) -> bytes:
    """One JSON line; key order is the row's own, so equal rows give equal bytes."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Whole numbers beyond 64 bits, which sources have as ids.
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def timestamp(moment: str | None) -> str | None:
    """A time as the database writes it, as ISO 8601 in UTC.

    Microseconds are always written, so that lengths do not vary.
    """
    if moment is None:
        return None
    # 2026-01-31 12:00:00.25+00, where the fraction and (on SQLite) the zone may be missing.
    fraction = moment[20:26].partition("+")[0] if moment[19:20] == "." else ""
    return f"{moment[:10]}T{moment[11:19]}.{fraction:0<6}Z"


def uuid_text(value: UUID | str) -> str:
    """A UUID with its dashes, which SQLite keeps without."""
    if isinstance(value, str):
        return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"
    return str(value)


def parsed(text: str | None) -> Any:
    """A JSON column with its keys in one order: PostgreSQL does not keep that in which they came.

    Keys of chats, tool calls and tools stand as they are usually written, others by length, then
    by letters, as PostgreSQL has them. What is empty is shared: nobody may change it.
    """
    if text in _EMPTY:
        return _EMPTY[text]
    value = orjson.loads(text or "null")
    if _is_plain_chat(value):
        return value
    if _LONG.search(text or ""):
        value = json.loads(text or "null")  # orjson makes whole numbers beyond 64 bits floats.
    return _ordered(value)


def parsed_chats(texts: Collection[str]) -> list[Any]:
    """The same of many chats, which takes half as long together."""
    chats = orjson.loads(f"[{','.join(texts)}]")
    both = zip(chats, texts, strict=True)
    return [chat if _is_plain_chat(chat) else parsed(text) for chat, text in both]


def _is_plain_chat(value: Any) -> bool:
    """True of the chats that most are, which are in order already."""
    if type(value) is not list:
        return False
    if len(value) == 1:  # Most prompts; a generator would take as long as reading them.
        return type(value[0]) is dict and [*value[0]] == _MESSAGE
    return all(type(one) is dict and [*one] == _MESSAGE for one in value)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        keys = sorted(value, key=_rank) if len(value) > 1 else value
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, list):
        return [_ordered(one) for one in value]
    return value


def _rank(key: str) -> tuple[int, int, str]:
    return _PLACE.get(key, len(_FIRST)), len(key), key


def pseudonyms(project: Project) -> Callable[[int], str]:
    """User id -> the name under which this project's exports know the person."""
    members = Membership.objects.filter(project=project)
    known = dict(members.values_list("user_id", "pseudonym"))

    def name(user_id: int) -> str:
        # A superuser votes without a membership; a keyed hash is stable and reveals nothing.
        return known.get(user_id) or f"ann-{_keyed(project, user_id)}"

    return name


def _keyed(project: Project, user_id: int) -> str:
    message = f"pseudonym:{project.pk}:{user_id}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()[:8]
