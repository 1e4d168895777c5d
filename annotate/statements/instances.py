"""Rows of hand-written SQL as instances of models, with the same values as the ORM reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model
from django.db.models.expressions import Col

M = TypeVar("M", bound=Model)


class Columns(Generic[M]):
    """Columns of one table in a statement, and the instances that their values make.

    A field that is left out is read when it is asked for, as with `defer`.
    """

    def __init__(self, model: type[M], alias: str, *, without: Sequence[str] = ()) -> None:
        self.model = model
        self.alias = alias
        self.fields = [field for field in model._meta.concrete_fields if field.name not in without]
        self.names = [field.attname for field in self.fields]
        self.sql = ", ".join(f'{alias}."{field.column}"' for field in self.fields)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _converters(self) -> list[tuple[int, Col, list[Callable[..., Any]]]]:
        """Place, expression and functions of the columns whose values have to be converted."""
        converted = []
        for place, field in enumerate(self.fields):
            column = Col(self.alias, field)
            functions = [
                *connection.ops.get_db_converters(column),
                *column.get_db_converters(connection),
            ]
            if functions:
                converted.append((place, column, functions))
        return converted

    def instance(self, values: Sequence[Any]) -> M:
        """The instance of the values of these columns."""
        read = list(values)
        for place, column, functions in self._converters:
            for function in functions:
                read[place] = function(read[place], column, connection)
        return self.model.from_db(DEFAULT_DB_ALIAS, self.names, read)


class Changes(Generic[M]):
    """An UPDATE of some fields of one row, by its primary key.

    Its parameters have names that begin with the table's, so that another statement can hold it.
    """

    def __init__(self, model: type[M], names: Sequence[str]) -> None:
        by_name = {field.name: field for field in model._meta.concrete_fields}
        self.fields = [by_name[name] for name in names]
        table = model._meta.db_table
        self.parameters = [f"{table}_{field.column}" for field in self.fields]
        assigned = ", ".join(
            f'"{field.column}" = %({name})s'
            for field, name in zip(self.fields, self.parameters, strict=True)
        )
        self.key = f"{table}_pk"
        self.sql = f"UPDATE {table} SET {assigned} WHERE id = %({self.key})s"

    def of(self, instance: M) -> dict[str, Any]:
        """The parameters: what the instance holds, as the database stores it."""
        values = (
            field.get_db_prep_save(getattr(instance, field.attname), connection)
            for field in self.fields
        )
        return dict(zip(self.parameters, values, strict=True)) | {self.key: instance.pk}
