"""Chats of a row: prompts, replies of one or several turns, tool calls, thinking, parts.

Every spelling comes out alike: roles of OpenAI's chats, content as text.
"""

from __future__ import annotations

import re
from typing import Any

from annotate.importing import human_assistant_text
from annotate.importing.imported_row import Reply
from annotate.importing.limits import MAX_TURNS
from annotate.importing.problems import Refused
from annotate.importing.shapes.columns import Cells, decoded, is_objects, text, tools_of
from annotate.models.content import Messages, messages_sha256, transcript

ROLES = ("system", "developer", "user", "assistant", "tool")
SPEAKERS = {
    **{role: role for role in ROLES},
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "environment": "tool",
}
CALLS = ("function_call", "tool_call")
"""Roles of turns that are a call written as JSON, in ShareGPT's spelling."""
THINKING = ("thinking", "reasoning_content", "reasoning")
CALLING = {"tool_use": "input", "tool_call": "args"}
"""Parts of a content that call a tool, in Anthropic's and LangChain's spelling: type -> key of the
arguments."""
SAID = ("text", "refusal")
"""Keys of a part's text."""
ANSWER = "tool_result"
"""The part that holds a tool's answer, in a message of the user."""
PLAIN = {"role", "content"}
CONTENTS = ("content", "value", "text", "parts")
"""Names of what a message says; `parts` are Gemini's, and of ours only beside a content."""
PROMPTS = ("prompt", "question", "instruction", "query", "context", "input", "history", "text")
"""Columns that hold a prompt as text or chat, the likelier first."""


TURNS = re.compile(r"""\[\{\s*['"](?:role|from)['"]\s*:""")
"""The beginning of a chat that is written in a text."""


def chat(value: Any, name: str, cells: Cells) -> Messages | None:
    """Chat messages, from a list or from a dialogue in one string; None for other text.

    Raises Refused.
    """
    if isinstance(value, str):
        if human_assistant_text.is_dialogue(value):
            return human_assistant_text.turns(text(value, name))
        value = _written_turns(value, name) if value.startswith("[{") else value
    if not isinstance(value, list):
        return None
    if not 0 < len(value) <= MAX_TURNS:
        raise Refused(name, f"a chat of 1 to {MAX_TURNS} messages is expected")
    return [message(one, name, cells) for raw in value for one in _apart(raw)]


def _apart(raw: Any) -> list[Any]:
    """A message, or several where it holds the answers of several tools, as Anthropic writes it."""
    content = raw.get("content") if isinstance(raw, dict) else None
    if not isinstance(content, list) or len(content) < 2:
        return [raw]
    answers = [one for one in content if isinstance(one, dict) and one.get("type") == ANSWER]
    rest = [one for one in content if one not in answers] if answers else content
    contents = [[one] for one in answers] + ([rest] if rest else [])
    return [{**raw, "content": one} for one in contents] if answers else [raw]


def _written_turns(value: str, name: str) -> Any:
    """The turns that a text holds as JSON or as Python prints them; else the text.

    A list of other objects is a reply of somebody who was asked for JSON. Raises Refused of turns
    that cannot be read: as a text nobody would want them.
    """
    turns = decoded(value)
    if is_objects(turns) and all(map(_is_message, turns)):
        return turns
    if isinstance(turns, str) and TURNS.match(value):
        raise Refused(name, "a chat in a text, cut off or neither JSON nor as Python prints it")
    return value


def message(raw: Any, name: str, cells: Cells) -> dict[str, Any]:
    """One message with a role and a content that is text. Raises Refused."""
    if not isinstance(raw, dict):
        raise Refused(name, "every message needs a role and a content that is text")
    content = raw.get("content")
    if isinstance(content, str) and raw.keys() == PLAIN:  # most messages
        return {"role": _role(raw["role"], name), "content": text(content, name)}
    inside = cells.inside(raw)
    said = inside.take("role", "from")
    if said is None and speaks(inside.get("type")):  # LangChain's
        said = inside.pop("type")
    content = next((inside.pop(key) for key in CONTENTS if key in inside), None)
    if said in CALLS:
        calls, content = decoded(content), ""
        result = {"role": "assistant", "content": "", "tool_calls": _calls(calls, name)}
    else:
        result = {"role": _role(said, name), "content": ""}
    result |= _extras(inside, name)
    if isinstance(content, list):
        content = _spoken(content, result, name, cells)
    content, parts = _content(content, name, cells)
    if content is None:
        if not result.keys() & {"tool_calls", "thinking"}:
            raise Refused(name, "every message needs a role and a content that is text")
        content = ""
    result["content"] = text(content, name)
    if parts:
        result["parts"] = parts
    cells.unread.extend(f"{name}[].{key}" for key in inside.rest())
    return result


def speaks(said: Any) -> bool:
    """True of a name of somebody who speaks in a chat."""
    return isinstance(said, str) and said in SPEAKERS


def _role(said: Any, name: str) -> str:
    role = SPEAKERS.get(said) or SPEAKERS.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise Refused(name, f"a message's role must be one of {', '.join(ROLES)}")
    return role


def _extras(inside: Cells, name: str) -> dict[str, Any]:
    """Name, tool calls and thoughts of a message."""
    extras: dict[str, Any] = {}
    calls = inside.take("tool_calls")
    if calls is None and (call := inside.take("function_call")) is not None:
        calls = [call]
    if calls := decoded(calls):
        extras["tool_calls"] = _calls(calls, name)
    for key in ("name", "tool_call_id"):
        value = inside.take(key)
        if value is not None:
            extras[key] = text(value, f"{name}.{key}")
    thinking = inside.take(*THINKING)
    if thinking is not None:
        extras["thinking"] = text(thinking, f"{name}.thinking")
    return extras


def _calls(calls: Any, name: str) -> list[Any]:
    """Tool calls as OpenAI writes them, arguments as objects also where they came as text."""
    result = []
    for call in calls if isinstance(calls, list) else [calls]:
        if not isinstance(call, dict):
            raise Refused(name, "a tool call must be an object with a function")
        if "function" not in call and "name" in call:
            call = {"type": "function", "function": call}
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), str):
            call = {**call, "function": {**function, "arguments": decoded(function["arguments"])}}
        result.append(call)
    return result


def _spoken(content: list[Any], result: dict[str, Any], name: str, cells: Cells) -> Any:
    """The parts of a content: thoughts, calls and a tool's answer, which Anthropic has among
    its parts, go where OpenAI's messages have them. None where nothing is said beside them."""
    said: list[Any] = []
    thoughts = [result["thinking"]] if "thinking" in result else []
    calls = list(result.get("tool_calls", ()))
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        kind = kind if isinstance(kind, str) else ""
        if kind in THINKING and isinstance(part.get(kind), str):
            thoughts.append(part[kind])
            used = {"type", kind}
        elif kind in CALLING and isinstance(part.get("name"), str):
            called = {"name": part["name"], "arguments": part.get(CALLING[kind], {})}
            about = {"id": part["id"]} if "id" in part else {}
            calls += _calls({**about, "type": "function", "function": called}, name)
            used = {"type", "id", "name", CALLING[kind]}
        elif kind == ANSWER and len(content) == 1:
            result["role"] = "tool"
            if isinstance(part.get("tool_use_id"), str):
                result["tool_call_id"] = part["tool_use_id"]
            told = part.get("content")
            said += told if isinstance(told, list) else [told or ""]
            used = {"type", "content", "tool_use_id"}
        else:
            said.append(part)
            continue
        cells.unread.extend(f"{name}[].content[].{key}" for key in part if key not in used)
    if calls:
        result["tool_calls"] = calls
    if thoughts:
        result["thinking"] = text("\n\n".join(thoughts), f"{name}.thinking")
    return said or None


def _content(value: Any, name: str, cells: Cells) -> tuple[Any, list[Any]]:
    """The text of a content, with images named; and its parts, where some are no text."""
    if not isinstance(value, list):
        return value, []
    pieces: list[str] = []
    unread: list[str] = []
    named = False
    for part in value:
        if isinstance(part, str):
            pieces.append(part)
        elif not isinstance(part, dict):
            raise Refused(name, "a content must be text or a list of parts")
        elif spelled := next((x for x in SAID if isinstance(part.get(x), str)), ""):
            pieces.append(part[spelled])
            unread += [key for key, x in part.items() if key not in ("type", spelled) and x]
        else:
            named = True
            label = f"[{_kind(part)}: {_file(part)}]"
            pieces.append(f"\n{label}\n" if pieces else f"{label}\n")
    if not named:
        cells.unread.extend(f"{name}[].content[].{key}" for key in unread)
    if named:
        cells.notices.append((name, "images and other parts that are no text are named, not shown"))
    return "".join(pieces).strip("\n") if named else "".join(pieces), value if named else []


def _kind(part: dict[str, Any]) -> str:
    kind = part.get("type")
    return kind.removeprefix("input_").split("_")[0] if isinstance(kind, str) and kind else "part"


def _file(part: dict[str, Any]) -> str:
    """A name for a part: the last piece of its address."""
    if len(str(part.get("data", ""))) > 80:
        return "inline"
    values = [value for key, value in part.items() if key != "type"]
    while values:
        value = values.pop(0)
        if isinstance(value, dict):
            if "data" in value:
                return "inline"
            values = [*value.values(), *values]
        elif isinstance(value, str) and value:
            return "inline" if value.startswith("data:") else value.rsplit("/", 1)[-1][:80]
    return "not named"


def prompt(value: Any, name: str, cells: Cells) -> Messages:
    """A prompt from a text, a chat or a dialogue in one string. Raises Refused."""
    messages = chat(value, name, cells)
    if messages is None:
        messages = [{"role": "user", "content": text(value, name)}]
    elif messages[-1] == {"role": "assistant", "content": ""}:
        messages = messages[:-1]  # "...\n\nAssistant:" asks for the reply, it is no turn
    check_prompt(messages, name)
    return messages


def check_prompt(messages: Messages, name: str) -> None:
    """Raise Refused unless the chat says something and waits for an answer."""
    if not any(one["content"].strip() or "parts" in one for one in messages):
        raise Refused(name, "the prompt is empty")
    if messages[-1]["role"] == "assistant":
        raise Refused(name, "the last message of a prompt must not be the assistant's")


def prompt_in(cells: Cells, *names: str) -> Messages:
    """The prompt of a row: the first of these columns, else of PROMPTS, with what stands before.

    A system text goes in front; an instruction has its input under it; earlier turns of
    `history`, pairs of texts, come first. Raises Refused.
    """
    wanted = names or PROMPTS
    name = wanted[0]
    if name not in cells:
        name = next((one for one in wanted if one in cells), name)
    if not names and name not in cells and "messages" in cells:
        name = "messages"
    value = cells.required(name)
    if isinstance(value, str) and value.endswith("\n\n") and "prompt_id" in cells:
        value = _as_it_was(value, cells["prompt_id"])
    added = cells.take("input") if name == "instruction" else None
    if isinstance(added, str) and isinstance(value, str):
        value = f"{value}\n\n{added}" if value.strip() else added
    return framed(cells, prompt(value, name, cells))


def _as_it_was(question: str, prompt_id: Any) -> str:
    """The question of our own export `trl`, which puts a blank line between it and the reply."""
    asked = question.removesuffix("\n\n")
    ours = prompt_id == messages_sha256([{"role": "user", "content": asked}])
    return asked if ours else question


def framed(cells: Cells, messages: Messages) -> Messages:
    """A prompt with the row's system text and history before it."""
    if not cells:
        return messages
    past = cells.get("history")
    if isinstance(past, list) and all(isinstance(x, list) and len(x) == 2 for x in past):
        turns: Messages = []
        for asked, said in cells.pop("history"):
            turns.append({"role": "user", "content": text(asked, "history")})
            turns.append({"role": "assistant", "content": text(said, "history")})
        messages = [*turns, *messages]
    if cells.keys() & {"system", "system_prompt"} and messages[0]["role"] != "system":
        system = cells.take("system", "system_prompt")
        if isinstance(system, str) and system.strip():
            messages = [{"role": "system", "content": text(system, "system")}, *messages]
        elif system is not None:
            cells["system"] = system
    return messages


def split(messages: Messages, name: str) -> tuple[Messages, Messages]:
    """A whole chat as its prompt and the reply: what follows the last turn that is a person's."""
    last = len(messages)
    while last and messages[last - 1]["role"] in ("assistant", "tool"):
        last -= 1
    if not last:
        raise Refused(name, "a chat needs a turn before the assistant's")
    check_prompt(messages[:last], name)
    return messages[:last], messages[last:]


def reply(value: Any, name: str, cells: Cells, model: str = "", **more: Any) -> Reply:
    """A reply from a text or from the turns that it consists of. Raises Refused."""
    if isinstance(value, str) and not value.startswith(("\n\n", "[{")):  # most replies
        return Reply(text(value, name), model, **more)
    turns = [value] if _is_message(value) else value
    turns = None if isinstance(turns, list) and not is_objects(turns) else chat(turns, name, cells)
    if turns is None:
        return Reply(text(value, name, cells), model, **more)
    return reply_of(turns, name, cells, model, **more)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.keys() & {"role", "from"})


def reply_of(turns: Messages, name: str, cells: Cells, model: str = "", **more: Any) -> Reply:
    """A reply from its turns; several that are plain text of the assistant alone are joined."""
    if turns and turns[0]["role"] != "assistant":
        raise Refused(name, "a reply must begin with the assistant's turn")
    if turns and turns[-1]["role"] not in ("assistant", "tool"):
        raise Refused(name, "a reply must end with the assistant's turn")
    if all(one.keys() == PLAIN and one["role"] == "assistant" for one in turns):
        if len(turns) != 1:
            cells.warn(name, "a reply takes several assistant turns; they were joined")
        return Reply("\n\n".join(one["content"] for one in turns), model, **more)
    return Reply(transcript(turns), model, messages=turns, **more)


def tools_from(cells: Cells, value: Any) -> None:
    """Keep the tools of an object as those of the row."""
    if (tools := tools_of(value)) is not None:
        cells["tools"] = tools
