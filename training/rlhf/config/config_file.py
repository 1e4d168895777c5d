"""Plain data to frozen dataclasses and back, by their type hints.

Unknown keys and wrong types are errors, because a misspelt setting that is silently ignored
costs a training run.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting has an unknown name, a wrong type or an impossible value."""

    def __init__(self, message: str, *, name: str = "") -> None:
        super().__init__(message)
        self.name = name or message.partition(" ")[0].rstrip(":")
        """Dotted name of the setting, with which messages begin."""


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_at_least(low: float, section: str, config: Any, *names: str) -> None:
    """Raise ConfigError for the first of these settings that is smaller (or not a number)."""
    for name, value in _given(config, names):
        require(value >= low, f"{section}.{name} must be at least {low:g}, not {value:g}")


def require_positive(section: str, config: Any, *names: str) -> None:
    """Raise ConfigError for the first of these settings that is zero or less (or not a number)."""
    for name, value in _given(config, names):
        require(value > 0, f"{section}.{name} must be positive, not {value:g}")


def _given(config: Any, names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Settings with their values; None switches one off."""
    for name in names:
        if getattr(config, name) is not None:
            yield name, getattr(config, name)


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain JSON-ready data."""
    return json.loads(json.dumps(dataclasses.asdict(config)))  # type: ignore[no-any-return]


def from_dict(cls: type[T], data: dict[str, Any], *, where: str = "") -> T:
    """Build a config from plain data.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value, named by its path.
    """
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        near = difflib.get_close_matches(unknown[0], hints, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"{where or cls.__name__}: unknown setting {', '.join(unknown)}{meant}",
            name=f"{where}.{unknown[0]}".lstrip("."),
        )
    values = {
        key: _coerce(hints[key], value, f"{where}.{key}".lstrip(".")) for key, value in data.items()
    }
    for field in dataclasses.fields(typing.cast("type[Any]", cls)):
        usual = (field.default, field.default_factory) != (dataclasses.MISSING,) * 2
        require(usual or field.name in data, f"{where}.{field.name}".lstrip(".") + " is missing")
    try:
        config = cls(**values)
    except ConfigError as error:
        raise _placed(error, where, hints) from None
    for key, value in values.items():  # JSON and the database have no infinity
        finite = not isinstance(value, float) or math.isfinite(value)
        require(finite, f"{f'{where}.{key}'.lstrip('.')} must be a finite number")
    return config


def _placed(error: ConfigError, where: str, hints: dict[str, Any]) -> ConfigError:
    """The error of a section with the whole name: lora.r is ppo.lora.r in one place of several."""
    section, _, field = error.name.rpartition(".")
    if not where or field not in hints or not section:
        return ConfigError(str(error), name=where or error.name)
    name = f"{where}.{field}"
    return ConfigError(name + str(error).removeprefix(error.name), name=name)


def problems(cls: type[Any], data: dict[str, Any]) -> dict[str, str]:
    """Each setting of `data` that `from_dict` would refuse, with what is wrong; {} where none is.

    A rule that joins two settings is told of the first of them.
    """
    left = copy.deepcopy(data)
    refused: dict[str, str] = {}
    while True:
        try:
            from_dict(cls, left)
        except ConfigError as error:
            refused.setdefault(error.name, str(error))
            # What is missing cannot be taken out: its section is, so that the others are told of.
            if not (_removed(left, error.name) or _removed(left, error.name.rpartition(".")[0])):
                return refused
        else:
            return refused


def _removed(data: dict[str, Any], name: str) -> bool:
    """Take one setting out; False where it is not there."""
    if not name:
        return False
    *parents, last = name.split(".")
    for parent in parents:
        if not isinstance(data.get(parent), dict):
            return False
        data = data[parent]
    return data.pop(last, data) is not data


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with those of `over` in place of theirs; a section that is None is none."""
    return dict(base) | {
        key: merged(base[key], value)
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
        else value
        for key, value in over.items()
    }


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their dotted names as nested ones."""
    data: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return data


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted names of the settings that differ, with both values; None where one is not there."""
    differing: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*before, *now]):
        was, is_ = before.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(is_, Mapping):
            inner = changes(was, is_)
            differing |= {f"{key}.{name}": values for name, values in inner.items()}
        elif was != is_:
            differing[key] = (was, is_)
    return differing


def _coerce(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against a type hint of one of the dataclasses above."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(args, value, where)
    if origin is Literal:
        require(value in args, f"{where} must be one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        require(isinstance(value, list | tuple), f"{where} must be a list")
        return tuple(_coerce(args[0], item, where) for item in value)
    if origin is dict:
        require(isinstance(value, dict), f"{where} must be a mapping")
        return {str(key): _coerce(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        require(isinstance(value, dict), f"{where} must be a mapping")
        return from_dict(typing.cast("type[Any]", hint), value, where=where)
    if hint is float and not isinstance(value, bool | float):
        value = _number(value, where)
    require(type(value) is hint, f"{where} must be {hint.__name__}, not {type(value).__name__}")
    return value


def _number(value: Any, where: str) -> Any:
    if isinstance(value, int):
        return float(value)
    if not isinstance(value, str):
        return value
    try:
        return float(value)  # YAML 1.1 reads 1e-4 as text
    except ValueError:
        raise ConfigError(f"{where} must be a number, not {value!r}") from None


def _coerce_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    options = [arg for arg in args if arg is not type(None)]
    for option in options[:-1]:
        try:
            return _coerce(option, value, where)
        except ConfigError:
            continue
    return _coerce(options[-1], value, where)


def differences(before: Any, now: Any) -> str:
    """The first three settings that are other ones, by their dotted names; "" where none is."""
    changes = list(islice(_differences(before, now, ""), 4))
    return "; ".join([*changes[:3], *["..."] * (len(changes) > 3)])


def _differences(before: Any, now: Any, name: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        was, is_ = ("not given" if one is None else json.dumps(one) for one in (before, now))
        yield f"{name} was {was} and is {is_}"


def load(cls: type[T], path: str | Path) -> T:
    """Read a config from a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, or `from_dict` refuses its content.
    """
    return from_dict(cls, read_mapping(path))


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Read a YAML or JSON file of settings; ConfigError when it is none."""
    try:
        data = yaml.load(Path(path).read_text("utf-8"), _Loader) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        where = " ".join(str(error).split())  # of YAML, which draws its errors over many lines
        raise ConfigError(f"cannot read {path}: {where}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of settings")
    return data


class _Loader(yaml.SafeLoader):
    """YAML in which a name that stands twice is an error: the first would silently be lost."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.composer.ComposerError(
                    None, None, f"{name} stands twice", node.start_mark
                )
        return node


def dump(config: Any, path: str | Path) -> None:
    """Write a config as JSON."""
    Path(path).write_text(json.dumps(to_dict(config), indent=2) + "\n", "utf-8")
