"""The rows that go in and out of the engine: JSON lines, read as a stream, written atomically.

Torch-free. A bad line is an error that names file, line and field, never a guess.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

Message = dict[str, str]
Choice = Literal["a", "b", "tie", "both_bad"]

MAX_STRENGTH = 3
"""Strengths of a preference: 0 negligibly, 1 slightly, 2 clearly, 3 much."""

VALUE: dict[str, float] = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}
"""The value of a vote for P(a is better): y in the Bradley-Terry likelihood."""


class RowError(ValueError):
    """A line of an input file is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A chat that waits for an answer."""

    prompt_id: str
    messages: list[Message]
    held_out: bool = False
    tags: tuple[str, ...] = ()
    reference: str = ""
    """A good answer, where one is known; evaluation reads it, and rules that take columns."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Further columns of its row, for rules that score replies by them."""


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One person's judgement, relative to the completions (never to screen sides)."""

    annotator: str
    choice: Choice
    strength: int = 2
    """0 to MAX_STRENGTH; ignored for ties."""
    weight: float = 1.0
    """Trust in this vote: the admin's weight times the annotator's own, 1 on average."""


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Two completions of one prompt and every vote on them. No votes: the pair is still open."""

    pair_id: str
    prompt_id: str
    messages: list[Message]
    completion_a: str
    completion_b: str
    stream: Literal["", "random", "active", "evaluation"] = "random"
    """The arm of the pair's first lease; empty where nobody was asked."""
    held_out: bool = False
    kind: str = "normal"
    votes: tuple[Vote, ...] = ()
    ai_votes: tuple[Vote, ...] = ()
    """Votes of models, weighed like people's. They teach the reward model alone, not its judge, and
    nothing is measured by them."""
    soft: tuple[float, float, float] | None = None
    """P(a), P(tie), P(b) as aggregated with the annotators' reliabilities, where that is known."""
    decided: Literal["", "a", "b", "tie", "both_bad"] = ""
    """A reviewer's answer, which overrules the votes."""


@dataclass(frozen=True, kw_only=True)
class Rating:
    """A scalar score for one reply to one prompt, higher is better, on whatever scale."""

    prompt_id: str
    messages: list[Message]
    completion: str
    score: float
    held_out: bool = False


Author = Literal["new", "before", "starter"]
"""The policies of a round: its own, the one that it began with, and the project's first."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A completion for labelling, with all that is needed to write it again."""

    key: str
    prompt_id: str
    text: str
    policy: Author = "new"
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    n_tokens: int = 0
    finish_reason: Literal["stop", "length"] = "stop"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A pair proposed for labelling; `completion_a` and `completion_b` are completion keys."""

    key: str
    prompt_id: str
    completion_a: str
    completion_b: str
    kind: Literal["normal", "evaluation"] = "normal"
    stream: Literal["random", "active"] = "random"
    """Drawn at random, or chosen: the latter is never leased by the random arm."""
    score: float = 0.0
    """Expected information of one vote; higher is asked first."""
    policy_a: str = ""
    """Evaluation pairs: who wrote a, an `Author`; a text may have several."""
    policy_b: str = ""
    margin: float | None = None
    """Logit of a over b by the round's reward model, of evaluation pairs by its judge, where that
    was at hand."""


def is_held_out(prompt: str, share: float) -> bool:
    """True where the prompt with this hash or id belongs to the held-out split.

    Depends on the text of `prompt` alone, so a project's split never changes as data arrives.
    """
    digest = hashlib.sha256(prompt.encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def completion_key(prompt_id: str, text: str) -> str:
    """Natural key of a completion: the same text for the same prompt is the same completion."""
    return hashlib.sha256(f"{prompt_id}\n{text}".encode()).hexdigest()


def candidate_key(first: str, second: str) -> str:
    """Natural key of a pair of completion keys, the same in either order."""
    return hashlib.sha256("\n".join(sorted((first, second))).encode()).hexdigest()


Row = TypeVar("Row", Prompt, Preference, Rating, Completion, Candidate)


def read(cls: type[Row], path: str | Path) -> Iterator[Row]:
    """Yield the rows of a JSON-lines file; memory does not grow with the file.

    Raises:
        RowError: unreadable file, broken JSON, or a field that is missing or of a wrong type.
    """
    for number, data in read_json(path):
        yield parse(cls, data, f"{path}, line {number}")


def parse(cls: type[Row], data: dict[str, Any], where: str) -> Row:
    """One row from plain data; RowError names `where` and the field."""
    try:
        return _row(cls, data)
    except (TypeError, ValueError, KeyError) as error:
        raise RowError(f"{where}: {error}") from error


def read_json(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every line that is not blank."""
    try:
        # HH-RLHF and others are published so.
        with (gzip.open if str(path).endswith(".gz") else open)(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _object(line, f"{path}, line {number}")
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RowError(f"cannot read {path}: {reason}") from error


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise RowError(f"{where}: not UTF-8") from None
    except ValueError as error:
        raise RowError(f"{where}: not JSON ({error})") from None
    if not isinstance(data, dict):
        raise RowError(f"{where}: expected an object, not {type(data).__name__}")
    return data


def write(path: str | Path, rows: Iterable[Any]) -> str:
    """Write dataclass rows or dicts as JSON lines under a temporary name, fsync, rename.

    Returns the sha256 of the file.
    """
    digest = hashlib.sha256()
    with replacing(path) as file:
        for row in rows:
            data = row if isinstance(row, dict) else dataclasses.asdict(row)
            line = json.dumps(data, ensure_ascii=False).encode() + b"\n"
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends without an error.

    A reader, and a crash, see the old file or the new one.
    """
    # Of two processes that write the same file each has its own partial one.
    partial = Path(path).with_name(f"{Path(path).name}.{os.getpid()}.tmp")
    with partial.open("wb") as file:
        yield file
        # The content must reach the disk before the name that says it is whole.
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def sha256(path: str | Path) -> str:
    """The sha256 of a file, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# One small checker per field keeps messages exact: "votes[1].choice must be one of ...".


def _row(cls: type[Row], data: dict[str, Any]) -> Row:
    known = {f.name: f for f in dataclasses.fields(cls)}
    for name, f in known.items():
        if name not in data and f.default is f.default_factory is dataclasses.MISSING:
            raise ValueError(f"{name} is missing")
    # Unknown keys are allowed here, unlike in settings: rows may carry columns of other tools.
    values = {name: _field(name, data[name]) for name in known if name in data}
    return cls(**values)


def _field(name: str, value: Any) -> Any:
    if name == "messages":
        return messages(value)
    if name in ("votes", "ai_votes"):
        return tuple(_vote(vote, f"{name}[{i}]") for i, vote in enumerate(_list(name, value)))
    if name == "soft":
        return None if value is None else _probabilities(name, value)
    if name == "tags":
        return tuple(_text("tags", tag) for tag in _list(name, value))
    if name == "columns":
        return _typed(name, value, dict, "a mapping")
    if name == "held_out":
        return _typed(name, value, bool, "true or false")
    if name in CHOICES:
        return _one_of(name, value, CHOICES[name])
    if name in ("seed", "n_tokens"):
        return _typed(name, value, int, "a whole number")
    if name == "margin":
        return None if value is None else _number(name, value)
    if name in ("temperature", "top_p", "score"):
        return _number(name, value)
    return _text(name, value)


CHOICES: dict[str, tuple[str, ...]] = {
    "stream": ("", "random", "active", "evaluation"),
    "decided": ("", *VALUE),
    "policy": ("new", "before", "starter"),
    "finish_reason": ("stop", "length"),
}


def messages(value: Any) -> list[Message]:
    """Check a chat: a list with at least one {"role": text, "content": text}.

    Calls of tools become text behind the content, `name(arguments)`, as replies spell theirs. Other
    keys (names, ids, thinking, parts) are read by people alone and left out.
    """
    chat = _list("messages", value)
    if not chat:
        raise ValueError("messages must not be empty")
    return [_message(item, f"messages[{i}]") for i, item in enumerate(chat)]


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise TypeError(f"{where} must be an object with role and content")
    calls = value.get("tool_calls") or []
    content = value.get("content")
    if content is None and calls:
        content = ""  # as OpenAI writes a turn that only calls
    said = [_text(f"{where}.content", content)]
    said += [_call(call, f"{where}.tool_calls") for call in _list(f"{where}.tool_calls", calls)]
    text = "\n".join(part for part in said if part)
    return {"role": _text(f"{where}.role", value.get("role")), "content": text}


def _call(value: Any, where: str) -> str:
    """A call in OpenAI's form or a bare one, spelt as in the replies that people compare."""
    if not isinstance(value, dict):
        raise TypeError(f"{where} must hold objects")
    function = value.get("function", value)
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments", "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f"{function.get('name', 'tool')}({arguments})"


def _vote(value: Any, where: str) -> Vote:
    if not isinstance(value, dict):
        raise TypeError(f"{where} must be an object")
    strength = value.get("strength", 2)
    known = range(MAX_STRENGTH + 1)
    if strength not in known or isinstance(strength, bool):
        *few, most = map(str, known)
        raise ValueError(f"{where}.strength must be {', '.join(few)} or {most}")
    weight = _number(f"{where}.weight", value.get("weight", 1.0))
    if weight < 0:
        raise ValueError(f"{where}.weight must not be negative")
    choice = _one_of(f"{where}.choice", value.get("choice"), tuple(VALUE))
    who = _text(f"{where}.annotator", value.get("annotator", ""))
    return Vote(annotator=who, choice=cast(Choice, choice), strength=strength, weight=weight)


def _probabilities(name: str, value: Any) -> tuple[float, float, float]:
    numbers = [_number(name, one) for one in _list(name, value)]
    if len(numbers) != 3 or min(numbers) < 0 or abs(sum(numbers) - 1) > 0.01:
        raise ValueError(f"{name} must be three probabilities that add up to 1, or null")
    return numbers[0], numbers[1], numbers[2]


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list")
    return list(value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return value


def _typed(name: str, value: Any, kind: type, words: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{name} must be {words}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number")
    return float(value)


def _one_of(name: str, value: Any, options: tuple[str, ...]) -> str:
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}")
    return cast(str, value)
