"""Columns of any name as the fields of our own rows, where a person says which is which; and the
words that names of columns are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from annotate.importing.problems import Refused
from annotate.importing.shapes.two_named_replies import CAPITALS

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
SIDE = re.compile(r"[ _:.-]*(\d+|[ab])$|(?<=[a-z])[ _:.-]*([AB])$")
WORD = re.compile(r"[a-z]+")
BETTER = {
    *("better", "best", "winner", "winning", "won", "win", "w", "preferred", "chosen", "accepted"),
    *("good", "positive", "pos", "liked", "selected", "favored", "favoured", "favorite", "top"),
}
WORSE = {
    *("worse", "worst", "loser", "losing", "lost", "lose", "l", "dispreferred", "rejected", "bad"),
    *("refused", "negative", "neg", "disliked", "unselected", "discarded", "unpreferred", "non"),
    *("nonpreferred", "declined"),
}
OTHERS = {"model", "models", "score", "scores", "id", "by", "name", "rating", "rank", "reason"}
"""Words of columns that say something else of a reply than its text."""
ASKING = {
    *("prompt", "question", "query", "instruction", "input", "ask", "asked", "request", "context"),
    *("user", "source", "post", "problem", "task", "article", "dialogue", "history", "message"),
}
JUDGING = {
    *("pref", "preference", "preferred", "prefer", "pick", "picked", "choice", "vote", "winner"),
    *("better", "best", "judgment", "judgement", "judge", "verdict", "decision", "selected"),
    *("selection", "label", "annotation", "chosen", "win", "answer", "rating", "comparison"),
}
REPLYING = {
    *("response", "reply", "answer", "output", "completion", "generation", "generated"),
    *("assistant", "bot", "chatbot"),
}
WISHED = {"reference", "gold", "golden", "expected", "ground", "truth", "target", "ideal"}
"""Words of columns that hold the reply which is wished for."""
ABOUT = {"label", "labels", "id", "time", "type", "length", "choice", "choices", "key", "correct"}
"""Words of columns that are about a reply."""
PEOPLE = {
    *("annotator", "rater", "labeler", "labeller", "worker", "judge", "evaluator", "reviewer"),
    *("user", "participant", "respondent", "grader"),
}
NAMING = {"id", "name", "email", "address", "uuid", "code", "login", "of", "the"}
"""Words of columns that name a person."""


def said_of(column: str) -> str:
    """chosen or rejected, where a word of the name says that the reply is better or worse."""
    words = words_of(column)
    if words & WORSE and not words & OTHERS:
        return "rejected"
    return "chosen" if words & BETTER and not words & OTHERS else ""


def words_of(name: str) -> set[str]:
    """The words of a name, which capitals, digits and separators part."""
    return set(WORD.findall(CAPITALS.sub(r"\1 \2", name).casefold()))


def letters(name: str) -> str:
    """A column's name without case and separators."""
    return SEPARATORS.sub("", name.casefold())


def same_letters(column: str, name: str) -> bool:
    """True of two names that differ in case and separators alone."""
    return column != name and letters(column) == letters(name)


@lru_cache(maxsize=4096)
def parted(name: str) -> tuple[str, str]:
    """A name's letters, and the number or side that it ends with."""
    match = SIDE.search(name)
    if match is None:
        return letters(name), ""
    return letters(name[: match.start()]), (match[1] or match[2]).casefold()


def distance(one: str, other: str, most: int) -> int:
    """Letters to add, take away, replace or swap with a neighbour; beyond `most`, more than it."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        row = [i]
        for j, its in enumerate(other, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != its))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == its:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


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
