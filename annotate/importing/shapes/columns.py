"""The columns of one row while a shape reads them: whatever it does not take is kept as metadata.

A shape takes what it understands and ends with `built`, so nothing of a row is lost in silence.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from annotate.importing import human_assistant_text, python_literals
from annotate.importing.imported_row import Comparison, Rating, Reply, Row
from annotate.importing.limits import MAX_NAME, MAX_TAGS, MAX_TEXT
from annotate.importing.problems import Refused
from annotate.models.content import Messages

MILLISECONDS = 100_000_000_000
"""Numbers above it are times in milliseconds: as seconds they would be after the year 5000."""


SURROGATE = re.compile("[\ud800-\udfff]")


class Missing(Refused):
    """A column that a row of this shape needs is not there."""


class Cells(dict[str, Any]):
    """Columns that nothing has read yet; those that are null are left out.

    `warnings` are (field, reason) of this row; `notices` the same, but said once per file.
    `unread` names what is inside a column that was read and is not kept; `empty` the columns
    that hold an empty text; `renamed` maps our name of a column that a person chose to its own.
    """

    __slots__ = ("empty", "notices", "nulls", "renamed", "unread", "warnings")

    def __init__(self, raw: Mapping[str, Any], renamed: Mapping[str, str] = {}) -> None:
        super().__init__(raw)
        self.renamed = renamed
        self.warnings: list[tuple[str, str]] = []
        self.notices: list[tuple[str, str]] = []
        self.unread: list[str] = []
        self.nulls: tuple[str, ...] = ()
        self.empty: tuple[str, ...] = ()
        if None in raw.values():
            self.nulls = tuple(name for name, value in raw.items() if value is None)
            for name in self.nulls:
                del self[name]
        if "" in raw.values():
            self.empty = tuple(name for name, value in raw.items() if value == "")

    def take(self, *names: str) -> Any:
        """The value of the first of these columns that says something; None without one."""
        for name in names:
            if name in self:
                value = self.pop(name)
                if value != "":
                    return value
        return None

    def required(self, name: str) -> Any:
        """The value of a column. Raises Refused where it is missing or null."""
        if name not in self:
            if name in self.nulls:
                raise Refused(name, "the value is null")
            raise Missing(name, "the column is missing")
        return self.pop(name)

    def inside(self, value: Mapping[str, Any]) -> Cells:
        """An object of this row, whose warnings are this row's."""
        cells = Cells(value)
        cells.warnings, cells.notices, cells.unread = self.warnings, self.notices, self.unread
        return cells

    def warn(self, field: str, reason: str) -> None:
        self.warnings.append((field, reason))

    def rest(self) -> dict[str, Any]:
        """Columns that nothing took and that say something."""
        return {name: value for name, value in self.items() if value is not None and value != ""}


def has(*names: str) -> Callable[[Cells], bool]:
    """Recognises rows with all of these columns."""
    wanted = frozenset(names)
    return lambda cells: wanted <= cells.keys()


def has_any(*names: str) -> Callable[[Cells], bool]:
    """Recognises rows with one of these columns."""
    wanted = frozenset(names)
    return lambda cells: not wanted.isdisjoint(cells)


def has_lists(*names: str) -> Callable[[Cells], bool]:
    """Recognises rows in which these columns are lists of objects."""
    return lambda cells: all(is_objects(decoded(cells.get(name))) for name in names)


def is_objects(value: Any) -> bool:
    """True of a list of objects that is not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)


def decoded(value: Any) -> Any:
    """A list or an object that is written in a text, as tables do: as JSON or as Python prints it;
    else the value. Raises Refused of one that no database keeps."""
    if isinstance(value, str) and value[:1] in ("[", "{") and value.rstrip()[-1:] in ("]", "}"):
        try:
            inside = json.loads(value)
        except RecursionError:
            return value
        except ValueError:
            inside = _printed(value)
        if "\\" in value and inside is not value:
            _check_texts(inside)
        return inside
    return value


def _check_texts(inside: Any) -> None:
    """Raise Refused of texts that escapes brought in, which a file's own texts must not hold."""
    waiting = [inside]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and "\x00" in one:
            raise Refused("", "a text within a text holds a NUL")
        elif isinstance(one, str) and SURROGATE.search(one):
            raise Refused("", "a text within a text holds half a surrogate pair")


def _printed(value: str) -> Any:
    if not value[1:].lstrip().startswith(("'", '"', "{", "[", "array(")):
        return value
    try:
        return python_literals.parsed(value)
    except (ValueError, RecursionError):
        return value


def object_of(value: Any, name: str) -> dict[str, Any]:
    """An object, also one that is written as JSON. Raises Refused."""
    value = decoded(value)
    if not isinstance(value, dict):
        raise Refused(name, "an object is expected")
    return value


def list_of(value: Any, name: str) -> list[Any]:
    """A list, also one that is written as JSON; empty for None. Raises Refused."""
    value = decoded(value)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise Refused(name, "a list is expected")
    return value


def objects_of(value: Any, name: str) -> list[dict[str, Any]]:
    """A list of objects; empty for None. Raises Refused."""
    return [object_of(one, name) for one in list_of(value, name)]


def text(value: Any, name: str, cells: Cells | None = None) -> str:
    """A text. Raises Refused; with `cells`, numbers are read as texts, with a warning."""
    if isinstance(value, bool | int | float) and cells is not None:
        # A model that answered "True" or "42" went through somebody's JSON writer.
        cells.warn(name, f"the value is not text; it was read as the text {value!s}")
        value = str(value)
    if not isinstance(value, str):
        raise Refused(name, f"text is expected, not {type(value).__name__}")
    if len(value) * 4 > MAX_TEXT and len(value.encode()) > MAX_TEXT:
        raise Refused(name, f"the text is longer than {MAX_TEXT:,} bytes")
    return value


def name_of(value: Any, column: str) -> str:
    """A model's or dataset's name; empty for None. Raises Refused."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise Refused(column, f"a name of at most {MAX_NAME} characters is expected")
    return value


def number(value: Any) -> float | None:
    """A finite number, also one that is written as text or is true or false; else None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def moment(value: Any) -> datetime | None:
    """A time that is written in ISO 8601 or as seconds or milliseconds since 1970; else None."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    since = number(value)
    try:
        if since is not None:
            return datetime.fromtimestamp(since / (1000 if since > MILLISECONDS else 1), UTC)
        when = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
    return when and (when if when.tzinfo else when.replace(tzinfo=UTC))


def ratings(cells: Cells, names: Iterable[str], rater: str = "") -> list[Rating]:
    """Take these columns where they are numbers: what a source says of one reply."""
    taken = []
    for name in names:
        value = number(cells.get(name))
        if value is not None:
            del cells[name]
            taken.append(Rating(name[:MAX_NAME], value, rater))
    return taken


def tags_of(value: Any) -> Sequence[str]:
    if not value:
        return ()
    tags = decoded(value)
    if not isinstance(tags, list) or not all(isinstance(t, str) and len(t) <= 80 for t in tags):
        raise Refused("tags", "a list of short texts is expected")
    if len(tags) > MAX_TAGS:
        raise Refused("tags", f"at most {MAX_TAGS} tags")
    return tags


def tools_of(value: Any) -> list[Any] | None:
    tools = decoded(value)
    if not tools:
        return None
    if not isinstance(tools, list):
        raise Refused("tools", "a list of tools is expected")
    return tools


def margin_of(cells: Cells) -> float | None:
    """Take the margin of the source.

    Our own exports have a margin that follows from the votes, and the source's where it had one.
    """
    for name in ("source_margin", "margin"):
        said = number(cells.get(name))
        if said is not None:
            del cells[name]
            return said
    return None


def about_sides(cells: Cells, *names: str) -> list[dict[str, Any]]:
    """Take from `metadata` what our exports say of each of these replies."""
    metadata = decoded(cells.get("metadata"))
    if not isinstance(metadata, dict) or metadata.keys().isdisjoint(names):
        return [{} for _ in names]
    taken = [metadata[x] if isinstance(metadata.get(x), dict) else {} for x in names]
    cells["metadata"] = {
        name: value
        for name, value in metadata.items()
        if name not in names or not isinstance(value, dict)
    }
    return taken


def _spread(cells: Cells) -> None:
    """The columns that `metadata` holds as columns of the row, where their names are free."""
    metadata = decoded(cells["metadata"])
    if isinstance(metadata, dict):
        free = {name: value for name, value in metadata.items() if name not in cells}
        cells["metadata"] = {k: x for k, x in metadata.items() if k not in free} or None
        cells.update(free)


def built(
    cells: Cells,
    messages: Messages,
    replies: Sequence[Reply] = (),
    comparisons: Sequence[Comparison] = (),
    reference: str = "",
) -> Row:
    """The row, with what every shape may have (reference, tags, tools) and the rest as metadata."""
    given = tags = tools = None
    if cells:
        given = cells.pop("reference", None)
        tags = tags_of(cells.pop("tags", None))
        tools = tools_of(cells.pop("tools", None))
        if "metadata" in cells:
            _spread(cells)
    if len(messages) > 1:
        merged = human_assistant_text.merged(messages)
        if len(merged) < len(messages):
            cells.warn("prompt", "two turns of one role in a row were joined")
            messages = merged
    return Row(
        messages=messages,
        replies=replies,
        comparisons=comparisons,
        tools=tools,
        reference=reference if given is None else text(given, "reference"),
        tags=tags or (),
        metadata=cells.rest() if cells else {},
        warnings=cells.warnings,
    )
