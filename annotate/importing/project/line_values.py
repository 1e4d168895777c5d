"""Values of a project's lines: taken one by one, each checked, and none left over."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models

from annotate.exporting.project.project_tables import Field, Table, empty
from annotate.importing.import_report import excerpt
from annotate.importing.problems import Unreadable
from annotate.importing.storage.bulk_insert import stored_time

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
HASH = re.compile(r"[0-9a-f]{64}")
MOST: dict[type[Field], int] = {
    models.PositiveSmallIntegerField: 32_767,
    models.SmallIntegerField: 32_767,
    models.IntegerField: 2_147_483_647,
}
"""Of whole numbers, on every database."""
OF_TEXTS = ("tags", "reasons", "source_ids", "reason_chips", "criteria")
"""Lists and mappings that hold texts alone."""
CONTAINERS: dict[str, type] = {"messages": list, "tools": list, "estimate": dict, "record": dict}
"""Kinds of JSON columns that may be empty or have to be there."""
Values = dict[str, Any]


class Line:
    """A line of the file, or an object in it. Whatever is wrong with it is Unreadable."""

    def __init__(self, place: int, raw: Any, name: str = "") -> None:
        self._place, self._name = place, name
        if not isinstance(raw, dict):
            self.refuse("", "an object is expected")
        self._left: dict[str, Any] = dict(raw)

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Raise Unreadable with the place of the fault."""
        path = ".".join(filter(None, (self._name, name)))
        raise Unreadable(f"Line {self._place:,}: {path}{': ' if path else ''}{reason}.")

    def table(self, table: Table) -> Values:
        """The columns of a table; those that are not there are empty."""
        values, left = {}, self._left
        for name, nothing, check, _, is_float in known(table):
            value = left.pop(name, nothing)
            if value is not nothing and value != nothing:
                if reason := check(value):
                    self.refuse(name, reason)
                values[name] = float(value) if is_float else value
                continue
            if nothing is ...:
                self.refuse(name, "it is missing")
            values[name] = nothing
        return values

    def text(self, name: str, *, pattern: re.Pattern[str] | None = None) -> str:
        """A text that has to be there."""
        value = self._left.pop(name, None)
        if not isinstance(value, str) or not value or (pattern and not pattern.fullmatch(value)):
            self.refuse(name, "it is missing" if value is None else "this is none")
        return value

    def optional(self, name: str) -> str | None:
        """A text, or None."""
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, str):
            self.refuse(name, "a text is expected")
        return value

    def whole(self, name: str, least: int, most: int) -> int:
        value = self._left.pop(name, None)
        if type(value) is not int or not least <= value <= most:
            self.refuse(name, f"a whole number from {least:,} to {most:,} is expected")
        return value

    def part(self, name: str) -> Line | None:
        """An object in the line, if it has one of that name."""
        raw = self._left.pop(name, None)
        return None if raw is None else Line(self._place, raw, name)

    def parts(self, name: str) -> list[Line]:
        """The objects of a list in the line."""
        return [Line(self._place, raw, name) for raw in self.listed(name)]

    def listed(self, name: str) -> list[Any]:
        value = self._left.pop(name, [])
        if not isinstance(value, list):
            self.refuse(name, "a list is expected")
        return value

    def end(self) -> None:
        """Refuse what nothing has taken: it would be lost."""
        for name in self._left:
            self.refuse(str(name)[:40], "no such thing is known here")


def fault(name: str, field: Field, value: Any) -> str:
    """The fault of a column's value, in words; empty when nothing is."""
    return _check_of(name, field)(value)


Check = Callable[[Any], str]


def _check_of(name: str, field: Field) -> Check:
    """The check of a column's values."""
    if isinstance(field, models.JSONField):
        return _kind_check(lambda value: _is_json(name, empty(field), value))
    if isinstance(field, models.DateTimeField):
        return _kind_check(lambda value: _matches(TIME, value) and _reads(_moment, value))
    if isinstance(field, models.UUIDField):
        return _kind_check(lambda value: isinstance(value, str) and _reads(UUID, value))
    if isinstance(field, models.BooleanField):
        return _kind_check(lambda value: isinstance(value, bool))
    if isinstance(field, models.FloatField):
        return _float_check(field)
    if isinstance(field, models.IntegerField):
        return _whole_check(field)
    return _text_check(field)


def _kind_check(is_one: Callable[[Any], bool]) -> Check:
    return lambda value: "" if is_one(value) else _none(value)


def _none(value: Any) -> str:
    return f"{excerpt(value, 40)} is none"


def _text_check(field: Field) -> Check:
    longest = field.max_length or sys.maxsize
    choices = dict(field.flatchoices) if field.choices else None

    def check(value: Any) -> str:
        if not isinstance(value, str):
            return _none(value)
        if len(value) > longest:
            return f"at most {longest} characters are expected"
        return "" if choices is None or value in choices else f"{value[:40]!r} is not known here"

    return check


def _whole_check(field: Field) -> Check:
    most = next(most for kind, most in MOST.items() if isinstance(field, kind))
    least = 0 if "Positive" in type(field).__name__ else -most

    def check(value: Any) -> str:
        if type(value) is not int:
            return _none(value)
        return "" if least <= value <= most else f"a number from {least:,} to {most:,} is expected"

    return check


def _float_check(field: Field) -> Check:
    def check(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return _none(value)
        try:
            field.run_validators(float(value))
        except ValidationError as error:
            return " ".join(error.messages).rstrip(".")
        except OverflowError:
            return "the number is too large"
        return ""

    return check


def _is_json(name: str, nothing: Any, value: Any) -> bool:
    kind: type = CONTAINERS.get(name) or type(nothing)
    if not isinstance(value, kind):
        return False
    if name in OF_TEXTS:
        inside: Any = list(value.values()) if isinstance(value, dict) else value
        return all(isinstance(one, str) for one in inside)
    return True


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _reads(read: Callable[[str], Any], value: str) -> bool:
    try:
        read(value)
    except (ValueError, OverflowError):
        return False
    return True


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Known(NamedTuple):
    """A column: its empty value, its check, its way into a row, and whether it is a float."""

    name: str
    nothing: Any
    check: Check
    stored: Callable[[Any], Any] | None
    is_float: bool


@cache
def known(table: Table) -> list[Known]:
    """The columns of a table; found out once, because a file has a million lines."""
    return [
        Known(
            name,
            empty(field),
            _check_of(name, field),
            _way(field),
            isinstance(field, models.FloatField),
        )
        for name, field in table.fields.items()
    ]


def _way(field: Field) -> Callable[[Any], Any] | None:
    """Make a value one that the database's driver takes in a row; None where it does as it is."""
    if isinstance(field, models.JSONField):
        return _json
    if isinstance(field, models.DateTimeField):
        return lambda value: stored_time(_moment(value))
    return (lambda value: UUID(value).hex) if isinstance(field, models.UUIDField) else None


def _json(value: Any) -> str:
    # Most are empty, and an encoder takes as long for these.
    return json.dumps(value) if value else "{}" if isinstance(value, dict) else "[]"


def stored(table: Table, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The columns of a table as the database's driver takes them in a row."""
    row = []
    for name, _, _, way, _ in known(table):
        value = values[name]
        row.append(value if way is None or value is None else way(value))
    return tuple(row)


def moment(text: str | None) -> datetime | None:
    """A time of the file."""
    return None if text is None else _moment(text)
