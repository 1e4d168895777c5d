"""Values of a project's lines: taken one by one, each checked, and none left over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NoReturn
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
        return {name: self._column(name, field) for name, field in table.fields.items()}

    def _column(self, name: str, field: Field) -> Any:
        nothing = empty(field)
        value = self._left.pop(name, nothing)
        if value is ...:
            self.refuse(name, "it is missing")
        if value != nothing and (reason := fault(name, field, value)):
            self.refuse(name, reason)
        return float(value) if isinstance(value, int) and _is_float(field) else value

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
    if not _is_of_kind(name, field, value):
        return f"{excerpt(value, 40)} is none"
    for kind, most in MOST.items():
        if isinstance(field, kind) and not -most <= value <= most:
            return "the number is too large"
    if isinstance(field, models.JSONField):
        return ""
    if field.choices and value not in dict(field.flatchoices):
        return f"{value!r} is not known here"
    try:
        if not isinstance(field, models.DateTimeField | models.UUIDField):
            field.run_validators(value)
    except ValidationError as error:
        return " ".join(error.messages).rstrip(".")
    return ""


def _is_of_kind(name: str, field: Field, value: Any) -> bool:
    if isinstance(field, models.JSONField):
        return _is_json(name, field, value)
    if isinstance(field, models.DateTimeField):
        return _reads(datetime.fromisoformat, value) if _matches(TIME, value) else False
    if isinstance(field, models.UUIDField):
        return isinstance(value, str) and _reads(UUID, value)
    if isinstance(field, models.BooleanField):
        return isinstance(value, bool)
    if _is_float(field):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(field, models.IntegerField):
        return type(value) is int and (value >= 0 or "Positive" not in type(field).__name__)
    return isinstance(value, str)


def _is_json(name: str, field: Field, value: Any) -> bool:
    kind: type = CONTAINERS.get(name) or type(empty(field))
    if not isinstance(value, kind):
        return False
    if name in OF_TEXTS:
        return all(isinstance(one, str) for one in _inside(value))
    return True


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else list(value)


def _is_float(field: Field) -> bool:
    return isinstance(field, models.FloatField)


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _reads(read: Any, value: str) -> bool:
    try:
        read(value)
    except (ValueError, OverflowError):
        return False
    return True


def stored(table: Table, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The columns of a table as the database's driver takes them in a row."""
    return tuple(_stored(field, values[name]) for name, field in table.fields.items())


def _stored(field: Field, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(field, models.JSONField):
        return json.dumps(value)
    if isinstance(field, models.DateTimeField):
        return stored_time(moment(value))
    return UUID(value).hex if isinstance(field, models.UUIDField) else value


def moment(text: str | None) -> datetime | None:
    """A time of the file."""
    return None if text is None else datetime.fromisoformat(text)
