"""Columns of any name as the fields of our own rows, where a person says which is which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from annotate.importing.problems import Refused

METADATA = "metadata"
BESIDE = "column "
"""Put before a column whose name a person gave to another one."""
FIELDS: dict[str, str] = {
    "prompt": "The question: a text, or a chat with roles.",
    "chosen": "The reply that was preferred.",
    "rejected": "The reply that was not.",
    "completion_a": "The first of two replies.",
    "completion_b": "The second of two replies.",
    "winner": "Which of the two replies is better: a, b or tie, its column or its model.",
    "votes": "An object of votes by annotator.",
    "rater": "Who judged. Rows of one pair with several raters become one pair.",
    "strength": "How clearly, from 0 (hardly) to 3 (much).",
    "margin": "How much better the winner is, on a scale of the source's own.",
    "model_a": "The model that wrote the first reply.",
    "model_b": "The model that wrote the second reply.",
    "completion": "One reply.",
    "completions": "A list of replies.",
    "model": "The model that wrote the reply, or all of them.",
    "label": "Whether the one reply is good: true or false.",
    "rank": "Ranks of a list of replies, 1 for the best.",
    "scores": "Numbers that rate the replies, or an object of them by name.",
    "tags": "A list of short texts.",
    "reference": "A right answer to the prompt.",
    "id": "The source's own name of the pair.",
    "time": "When the vote was cast: ISO 8601, or seconds since 1970.",
    "left": "Which reply stood on the left: a or b.",
    "comment": "What the person said of the vote.",
}
"""The fields that can be mapped, with a word on each."""
MOST_NAMES = 1_000
"""Sets of columns whose names are remembered."""
Chosen = Mapping[str, str | Sequence[str]]
SEPARATORS = re.compile(r"[^a-z0-9]+")


def letters(name: str) -> str:
    """A column's name without case and separators."""
    return SEPARATORS.sub("", name.casefold())


def same_letters(column: str, name: str) -> bool:
    """True of two names that differ in case and separators alone."""
    return column != name and letters(column) == letters(name)


class Mapped:
    """A person's choice of columns: field -> column, or several columns of which rows have one.

    A column is a name, in any case, or a dotted path into objects (`data.prompt`). A field with
    an empty column is left alone, and so are the columns of the field `metadata`.
    """

    def __init__(self, chosen: Chosen | None = None) -> None:
        self.columns: dict[str, list[str]] = {}
        self.left_alone: set[str] = set()
        self.closed: set[str] = set()
        for field, given in (chosen or {}).items():
            columns = [given] if isinstance(given, str) else list(given)
            if field == METADATA:
                self.left_alone.update(columns)
            elif field in FIELDS:
                self.columns[field] = [one for one in columns if one]
                if not self.columns[field]:
                    self.closed.add(field)
            elif columns == [METADATA]:
                self.left_alone.add(field)
            else:
                known = ", ".join(FIELDS)
                raise Refused(field[:40], f"no field has this name; the fields are {known}")
        self._has_paths = any("." in one for columns in self.columns.values() for one in columns)
        self._names: dict[tuple[str, ...], tuple[list[tuple[str, str]], dict[str, str]]] = {}
        """Columns of a row -> our name and the column of each, and what was renamed."""

    def applied(self, raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
        """The row under our names, and field -> column of what was renamed."""
        if not any(self.columns.values()):
            return raw, {}
        if self._has_paths:
            return self.moved(raw)
        # Which column is which follows from the columns alone: found once for all rows with them.
        columns = tuple(raw)
        if columns not in self._names:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            names, taken = self.moved({column: column for column in columns})
            self._names[columns] = list(names.items()), taken
        ours, taken = self._names[columns]
        return {name: raw[column] for name, column in ours}, taken

    def moved(self, raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """The same for one row, whatever other rows are like."""
        taken: dict[str, str] = {}
        values: dict[str, Any] = {}
        rest: Any = raw
        for field, columns in self.columns.items():
            path = next(filter(None, (_path(raw, one) for one in columns)), None)
            if path is None and field not in raw:
                # Who has said which column a field is means its other spellings, too.
                path = next(([one] for one in raw if columns and same_letters(one, field)), None)
            if path is not None:
                taken[field] = ".".join(path)
                values[field] = _value(raw, path)
                rest = _without(rest, path)
        rest = dict(rest)
        for name in values.keys() & rest.keys():
            rest[BESIDE + name] = rest.pop(name)  # Another column has taken its place.
        return {**rest, **values}, taken


def _path(raw: Mapping[str, Any], column: str) -> list[str] | None:
    """The column's place in a row: its name, the same in another case, or a dotted path."""
    for name in (column, *(name for name in raw if name.casefold() == column.casefold())):
        if name in raw:
            return [name]
    parts = column.split(".")
    if len(parts) > 1 and _value(raw, parts) is not None:
        return parts
    return None


def _value(raw: Any, path: Iterable[str]) -> Any:
    for name in path:
        if isinstance(raw, list) and name.isdecimal() and int(name) < len(raw):
            raw = raw[int(name)]
        elif isinstance(raw, Mapping):
            raw = raw.get(name)
        else:
            return None
    return raw


def _without(row: Any, path: list[str]) -> Any:
    """A copy without what is at the path; objects that become empty go, too."""
    name, *below = path
    if isinstance(row, list):
        place = int(name)
        return [_without(x, below) if below and i == place else x for i, x in enumerate(row)]
    if not below:
        return {key: value for key, value in row.items() if key != name}
    inner = _without(row[name], below)
    return {k: inner if k == name else v for k, v in row.items() if k != name or inner}
