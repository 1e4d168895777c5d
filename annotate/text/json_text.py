"""JSON as people read it: the arguments of a tool's call, and columns that an import kept.

The values are hostile until proven otherwise. What comes out is text, to be escaped by whoever
shows it, and never much longer than what went in: indentation of deep nesting would be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from annotate.text.markdown import capped, reveal

DEEPEST = 20
"""Levels beyond which a value stands on one line: each costs two spaces per line."""
MOST_ENTRIES = 200
LONG = 120
"""Characters from which a value stands in a block of its own."""


class Entry(NamedTuple):
    """One named value; `block` says that it is too long or too nested for a line."""

    name: str
    text: str
    block: bool


def pretty(value: Any) -> str:
    """A value as indented JSON; a text that is JSON likewise, and any other as it is.

    Invisible characters are written out, and the text is cut at 100 kB.
    """
    if isinstance(value, str):
        value, plain = _parsed(value), value
        if value is None:
            return _bounded(plain)
    indent = 2 if _is_shallow(value, DEEPEST) else None
    try:
        return _bounded(json.dumps(value, ensure_ascii=False, indent=indent))
    except RecursionError:
        return "(nested too deeply to show)"


def entries(values: Mapping[str, Any]) -> list[Entry]:
    """Names and values of an object in their order, at most `MOST_ENTRIES`, then how many more."""
    shown = [_entry(name, value) for name, value in list(values.items())[:MOST_ENTRIES]]
    if more := len(values) - len(shown):
        shown.append(Entry(f"{more} more", "not shown here", block=False))
    return shown


def _entry(name: str, value: Any) -> Entry:
    nested = isinstance(value, dict | list) and bool(value)
    text = _bounded(value) if isinstance(value, str) else pretty(value)
    return Entry(_bounded(str(name)[:LONG]), text, block=nested or len(text) > LONG)


def _parsed(text: str) -> Any:
    """The object or list that a text spells; None when it spells neither, or not only once."""
    text = text.strip()
    if not text.startswith(("{", "[")) or capped(text)[1]:
        return None
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # A name that stands there twice would lose its first value without a word.
    if len(read := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return read


def _is_shallow(value: Any, levels: int) -> bool:
    inside = _inside(value)
    return all(levels > 1 and _is_shallow(each, levels - 1) for each in inside)


def _inside(value: Any) -> Iterator[Any]:
    """The objects and lists that a value holds."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return
    yield from (each for each in value if isinstance(each, dict | list))


def _bounded(text: str) -> str:
    text, cut = capped(text)
    return reveal(text) + ("…" if cut else "")
