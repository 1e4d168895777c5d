"""A chat as pages show it: turn by turn, each with a word for its role and all that it holds.

A turn may hold more than text: calls of tools and what they answered, thinking, images. Nothing of
it is loaded or run; an image is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from annotate.text.json_text import pretty
from annotate.text.markdown import reveal

Message = Mapping[str, Any]

ROLES = {
    "system": "Instructions",
    "developer": "Developer’s instructions",
    "user": "User",
    "assistant": "Assistant",
    "tool": "Tool",
}
KEPT = ("role", "content", "name", "tool_calls", "tool_call_id", "thinking", "parts")
"""The keys of a message that those who judge it may see: other keys may name a model or a score."""
MOST_TURNS = 400
MOST_OF_A_KIND = 50
"""Calls and images of one turn, and tools of a prompt, that are shown."""
LONGEST_NAME = 80
NAMED_BY = ("name", "file_name", "path", "url")
LONGEST_ADDRESS = 200


class Call(NamedTuple):
    """A tool that the assistant calls, with its arguments as indented JSON."""

    name: str
    arguments: str


class Tool(NamedTuple):
    """A tool that the assistant may call."""

    name: str
    description: str
    parameters: str


class Turn(NamedTuple):
    """One message; texts are Markdown unless `monospaced`."""

    role: str
    """One of ROLES, or "other"."""
    title: str
    text: str = ""
    monospaced: bool = False
    thinking: str = ""
    calls: Sequence[Call] = ()
    unseen: Sequence[str] = ()
    """Images and the like that are not shown, by name."""
    left_out: str = ""
    """A sentence on calls and images beyond those that are shown."""


def blind(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as annotators get them: without the keys that may say who wrote a turn."""
    return [_blind(message) for message in messages]


def turns(messages: Sequence[Message]) -> list[Turn]:
    """The chat to show. Of more than `MOST_TURNS` messages those in the middle are left out."""
    asked = _asked(messages)
    shown = [_turn(message, asked) for message in messages]
    if (more := len(shown) - MOST_TURNS) > 0:
        half = MOST_TURNS // 2
        gap = Turn("other", f"{more} turns are not shown here")
        shown = [*shown[:half], gap, *shown[-half:]]
    return shown


def question(shown: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """The earlier turns, and those from the last user's on: what a reply answers.

    A reply may answer a tool whose result the user's question led to.
    """
    last = max((i for i, turn in enumerate(shown) if turn.role == "user"), default=len(shown) - 1)
    return list(shown[:last]), list(shown[last:])


def tools(described: Sequence[Any] | None) -> list[Tool]:
    """The tools of a prompt, in the forms of OpenAI and Anthropic or bare."""
    every = [_tool(one) for one in list(described or ())[:MOST_OF_A_KIND]]
    if more := len(described or ()) - len(every):
        every.append(Tool(f"{more} more", "They are not shown here.", ""))
    return every


def _blind(message: Message) -> dict[str, Any]:
    kept = {key: message[key] for key in KEPT if key in message}
    if message.get("role") == "assistant":
        kept.pop("name", None)  # may be the model's
    if "tool_calls" in kept:
        kept["tool_calls"] = [_bare(call) for call in _list(kept["tool_calls"])]
    return kept


def _bare(call: Any) -> dict[str, Any]:
    name, arguments = _called(call)
    bare = {"type": "function", "function": {"name": name, "arguments": arguments}}
    if isinstance(call, Mapping) and isinstance(call.get("id"), str):
        bare["id"] = call["id"]
    return bare


def _asked(messages: Sequence[Message]) -> dict[str, str]:
    """Name of the tool that was called by each id: its answer may tell the id alone."""
    return {
        call["id"]: _called(call)[0]
        for message in messages
        for call in _list(message.get("tool_calls"))
        if isinstance(call, Mapping) and isinstance(call.get("id"), str)
    }


def _turn(message: Message, asked: Mapping[str, str]) -> Turn:
    role = str(message.get("role", ""))
    calls = _list(message.get("tool_calls"))
    unseen = list(_unseen(_list(message.get("parts"))))
    name = message.get("name") or asked.get(str(message.get("tool_call_id", "")))
    title = ROLES.get(role) or _short(role.capitalize(), LONGEST_NAME) or "No role"
    return Turn(
        role=role if role in ROLES else "other",
        title=f"{title}: {_short(name, LONGEST_NAME)}" if name else title,
        text=_text(message.get("content")),
        monospaced=role == "tool",
        thinking=_text(message.get("thinking")),
        calls=[_call(call) for call in calls[:MOST_OF_A_KIND]],
        unseen=unseen[:MOST_OF_A_KIND],
        left_out=_left_out(len(calls), "calls") or _left_out(len(unseen), "images"),
    )


def _left_out(number: int, of: str) -> str:
    return f"{number - MOST_OF_A_KIND} more {of} are not shown here." * (number > MOST_OF_A_KIND)


def _call(call: Any) -> Call:
    name, arguments = _called(call)
    return Call(_short(name, LONGEST_NAME), pretty(arguments))


def _called(call: Any) -> tuple[str, Any]:
    """Name and arguments, in OpenAI's form or a bare one."""
    if not isinstance(call, Mapping):
        return "", call
    function = call.get("function")
    inner = function if isinstance(function, Mapping) else call
    arguments = inner.get("arguments", inner.get("input", {}))
    return str(inner.get("name") or ""), arguments


def _tool(described: Any) -> Tool:
    if not isinstance(described, Mapping):
        return Tool(_short(described, LONGEST_NAME), "", "")
    function = described.get("function")
    inner = function if isinstance(function, Mapping) else described
    if not inner.get("name"):
        return Tool("No name", "", pretty(described))
    name = _short(inner["name"], LONGEST_NAME)
    said = ("name", "description", "type", "function")
    rest = {key: value for key, value in inner.items() if key not in said}
    # One thing besides is what its parameters are, whatever it is called.
    (parameters,) = rest.values() if len(rest) == 1 else (rest,)
    return Tool(name, _text(inner.get("description")), pretty(parameters) if parameters else "")


def _unseen(parts: Sequence[Any]) -> Iterator[str]:
    """Kind and name of each part that is no text."""
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        kind = str(part.get("type") or "part").removesuffix("_url").removeprefix("input_")
        if kind != "text":
            named = _short(_address(part, kind), LONGEST_ADDRESS)
            title = _short(kind, LONGEST_NAME).capitalize()
            yield f"{title} not shown: {named}" if named else f"{title} not shown"


def _address(part: Message, kind: str) -> str:
    """A name or an address of a part; of contents that are part of the address, their kind."""
    held = [part.get(key) for key in NAMED_BY]
    held += [part.get(key) for key in (kind, f"{kind}_url", "source")]
    held += [each.get("url") or each.get("path") for each in held if isinstance(each, Mapping)]
    named = next((each for each in held if isinstance(each, str) and each), "")
    if named.startswith("data:"):
        return f"{named[5:].partition(',')[0].partition(';')[0]}, {len(named) // 1000} kB"
    return named


def _short(value: Any, longest: int) -> str:
    text = reveal(str(value)[: longest + 1]).replace("\n", " ").strip()
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else pretty(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
