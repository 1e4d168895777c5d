"""Every setting by its dotted name: type, default and the sentence beside it in the code.

Read from the dataclasses themselves, so that a form, the API's schema and the documentation say
what the engine does.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from training.rlhf.config.config_file import to_dict


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting. `kind` is int, float, bool, str, choice, list, mapping or section."""

    name: str
    kind: str
    default: Any
    text: str
    options: tuple[str, ...] = ()
    optional: bool = False
    """True when None is a value: it switches something off."""


@functools.cache
def settings_of(cls: Hashable) -> dict[str, Setting]:
    """All settings of a config by dotted name, sections before what is in them."""
    return {one.name: one for one in _settings(typing.cast("type[Any]", cls), "")}


def _settings(cls: type[Any], before: str) -> Iterator[Setting]:
    texts, hints = _texts(typing.cast("Hashable", cls)), typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name = f"{before}{field.name}"
        hint, optional = _without_none(hints[field.name])
        yield Setting(
            name=name,
            kind=_kind(hint),
            default=_default(field),
            text=texts.get(field.name, ""),
            options=tuple(map(str, typing.get_args(hint))) if _kind(hint) == "choice" else (),
            optional=optional,
        )
        if dataclasses.is_dataclass(hint):
            yield from _settings(typing.cast("type[Any]", hint), f"{name}.")


def _without_none(hint: Any) -> tuple[Any, bool]:
    """A hint and whether None is allowed; of several types the last one stands for all."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    return options[-1], type(None) in typing.get_args(hint)


def _kind(hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        return "section"
    kinds = {Literal: "choice", tuple: "list", dict: "mapping"}
    return kinds.get(typing.get_origin(hint), getattr(hint, "__name__", "str"))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        default: Any = field.default
        return list(default) if isinstance(default, tuple) else default
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        return to_dict(made) if dataclasses.is_dataclass(made) else made
    return None


@functools.cache
def _texts(cls: Hashable) -> dict[str, str]:
    """The string that stands below each field, in one line; those of its bases too."""
    texts: dict[str, str] = {}
    for base in reversed(
        [one for one in typing.cast("type[Any]", cls).__mro__ if dataclasses.is_dataclass(one)]
    ):
        [definition] = ast.parse(inspect.getsource(typing.cast("type[Any]", base))).body
        assert isinstance(definition, ast.ClassDef), "a dataclass is a class"
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                texts[field.target.id] = _string(below) or texts.get(field.target.id, "")
    return texts


def _string(statement: ast.stmt) -> str:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return ""
    return " ".join(str(statement.value.value).split())


def schema(cls: type[Any], *, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """JSON schema of a config in which every setting may be left out."""
    texts, hints = _texts(typing.cast("Hashable", cls)), typing.get_type_hints(cls)
    properties = {}
    for field in dataclasses.fields(cls):
        if field.name in leave_out:
            continue
        hint, optional = _without_none(hints[field.name])
        described = _described(hint if optional else hints[field.name])
        if text := texts.get(field.name):
            described = {**described, "description": text}
        properties[field.name] = described | ({"nullable": True} if optional else {})
    return {"type": "object", "additionalProperties": False, "properties": properties}


JSON_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def _described(hint: Any) -> dict[str, Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return {"oneOf": [_described(option) for option in typing.get_args(hint)]}
    kind = _kind(hint)
    if kind == "section":
        return schema(typing.cast("type[Any]", hint))
    if kind == "choice":
        return {"type": "string", "enum": list(typing.get_args(hint))}
    if kind == "list":
        return {"type": "array", "items": _described(typing.get_args(hint)[0])}
    if kind == "mapping":
        return {"type": "object", "additionalProperties": _described(typing.get_args(hint)[1])}
    return {"type": JSON_TYPES[kind]}
