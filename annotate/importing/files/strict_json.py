"""JSON, strictly: what no database can store and what says two things at once is refused."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any, NoReturn

from annotate.importing.limits import MAX_COLUMN, MAX_COLUMNS, MAX_DEPTH
from annotate.importing.problems import Refused

# Few rows have an escape that calls for a look at every text: half a surrogate pair, or NUL.
UNSTORABLE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")


def decoded(raw: bytes) -> dict[str, Any] | Refused:
    """The row that UTF-8 text holds, or the reason why it is refused."""
    try:
        return parse(raw.decode())
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        return Refused("", f"not UTF-8: byte 0x{byte:02x} at position {error.start + 1}")
    except Refused as error:
        return error


def parse(text: str) -> dict[str, Any]:
    """A JSON object. json.loads alone accepts what no database can store."""
    try:
        value = STRICT.decode(text)
    except _Constant as error:
        raise Refused(_column_of_constant(text), f"{error} is not JSON") from None
    except Refused:
        raise
    except RecursionError:
        raise Refused("", f"nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        if "integer string conversion" in str(error):  # Python's own bound, against slow numbers.
            raise Refused("", "not valid JSON: a number of more than 4,000 digits") from None
        raise Refused("", f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused("", "not a JSON object")
    if len(value) > MAX_COLUMNS:
        raise Refused("", f"holds {len(value):,} columns; at most {MAX_COLUMNS:,} are read")
    for name in value:
        if len(name) > MAX_COLUMN:
            raise Refused(_name(name), too_long(name))
    texts = bool(UNSTORABLE.search(text))
    if texts or text.count("[") + text.count("{") > MAX_DEPTH:
        for name, item in value.items():
            check(name, name, 1)
            check(item, name, 1)
    return value


class _Constant(ValueError):
    """NaN or an infinity."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise Refused(twice[:40], "the key occurs twice in one object")
    return members


def _no_constant(name: str) -> NoReturn:
    raise _Constant(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Constant(digits[:40])
    return number


# Made once: json.loads makes a decoder for every call, which takes as long as a short row.
STRICT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)


def _column_of_constant(text: str) -> str:
    """The column that holds NaN or an infinity; the decoder tells none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for name, item in value.items() if isinstance(value, dict) else ():
        stack = [item]
        while stack:
            item = stack.pop()
            if isinstance(item, float) and not math.isfinite(item):
                return str(name)[:40]
            if isinstance(item, dict | list):
                stack += item.values() if isinstance(item, dict) else item
    return ""


def check(value: Any, column: str, depth: int) -> None:
    """Refuse deep nesting, and characters that no UTF-8 text or no PostgreSQL text can hold."""
    if isinstance(value, str):
        check_text(value, column)
    elif isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            raise Refused(column[:40], f"nested deeper than {MAX_DEPTH}")
        for item in value:
            check(item, column, depth + 1)
        if isinstance(value, dict):
            for item in value.values():
                check(item, column, depth + 1)


def check_text(text: str, column: str) -> None:
    if "\x00" in text:
        raise Refused(_name(column), "a text holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(_name(column), "a text holds half a surrogate pair") from None


def too_long(name: str) -> str:
    return f"a column's name has {len(name):,} characters; at most {MAX_COLUMN:,} are read"


def _name(column: str) -> str:
    """A column's name that can be shown: it may hold the fault itself."""
    return column[:40].encode(errors="replace").decode().replace("\x00", "?")
